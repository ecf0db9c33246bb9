/** `--output`, `--push`, `--load`: where the result goes besides the store, and in which form. */
import { normaliseReference } from "../oci/references.js";
import { AegisError } from "../support/errors.js";
import { type Annotation, annotationField } from "./export/annotations.js";
import { type ImageVariant, usualVariant } from "./export/variant.js";
import { parseFields } from "./request-secrets.js";

export type BuildOutput =
  /** In the store under these names (the build's when there are none), and at their registries. */
  | {
      readonly type: "image";
      readonly names: readonly string[];
      readonly push: boolean;
      /** Pushed without a tag. */
      readonly byDigest: boolean;
      readonly variant: ImageVariant;
    }
  /** The root filesystem as files of a directory, or as a tar. */
  | { readonly type: "local"; readonly directory: string; readonly split: boolean | undefined }
  | { readonly type: "tar"; readonly file: string; readonly split: boolean | undefined }
  /** An archive that others load: an OCI layout with docker's manifest.json in it. */
  | {
      readonly type: "archive";
      readonly file: string;
      readonly names: readonly string[];
      readonly variant: ImageVariant;
    }
  /** An OCI layout as a directory. */
  | {
      readonly type: "layout";
      readonly directory: string;
      readonly names: readonly string[];
      readonly variant: ImageVariant;
    }
  /** One bootable ext4 image. */
  | { readonly type: "disk"; readonly file: string };

/** `-` is standard output. */
export const standardOutput = "-";

/** @param annotations of `--annotation`, which all forms of the image get @throws AegisError USAGE, BAD_REFERENCE */
export function buildOutputs(
  words: readonly string[],
  flags: { readonly push: boolean; readonly load: boolean },
  annotations: readonly Annotation[],
): readonly BuildOutput[] {
  const outputs = words.flatMap((word) => parseOutput(word, annotations));
  const toStandardOutput = outputs.filter((it) => "file" in it && it.file === standardOutput);
  if (toStandardOutput.length > 1) throw usage("only one output can go to standard output", "give the others a dest=");
  // The store is where images are, so there is nothing more to load.
  if (!flags.push) return outputs;
  const images = outputs.filter((it) => it.type === "image");
  if (images.length > 0) return outputs.map((it) => (it.type === "image" ? { ...it, push: true } : it));
  const variant = { ...usualVariant, annotations };
  return [...outputs, { type: "image", names: [], push: true, byDigest: false, variant }];
}

function parseOutput(word: string, annotations: readonly Annotation[]): readonly BuildOutput[] {
  if (!/(^|,)type=/.test(word)) {
    if (word === standardOutput) return [{ type: "tar", file: word, split: undefined }];
    if (/^[a-z-]+=/.test(word))
      throw usage(`--output "${word}" says no type`, "write it as --output type=local,dest=DIR");
    return [{ type: "local", directory: word, split: undefined }];
  }
  const fields = new Fields(word);
  const output = readOutput(fields, annotations);
  fields.finish();
  return output;
}

function readOutput(fields: Fields, annotations: readonly Annotation[]): readonly BuildOutput[] {
  const { type } = fields;
  const dest = fields.text("dest");
  switch (type) {
    case "image":
    case "registry": {
      const push = fields.flag("push") ?? type === "registry";
      const byDigest = fields.flag("push-by-digest") ?? false;
      return [
        {
          type: "image",
          names: fields.names(),
          push: push || byDigest,
          byDigest,
          variant: fields.variant(annotations),
        },
      ];
    }
    case "docker":
    case "oci": {
      const names = fields.names();
      const isTar = fields.flag("tar") ?? true;
      if (type === "docker" && dest === undefined) {
        return [{ type: "image", names, push: false, byDigest: false, variant: fields.variant(annotations) }];
      }
      const variant = fields.variant(annotations);
      if (isTar) return [{ type: "archive", file: dest ?? standardOutput, names, variant }];
      return [{ type: "layout", directory: needed(type, dest, "DIR"), names, variant }];
    }
    case "local":
    case "tar": {
      const split = fields.flag("platform-split");
      return type === "tar"
        ? [{ type, file: dest ?? standardOutput, split }]
        : [{ type, directory: needed(type, dest, "DIR"), split }];
    }
    case "disk":
      return [{ type, file: needed(type, dest, "FILE") }];
    case "cacheonly":
      return [];
    default:
      throw usage(
        `--output can't be of type "${type}"`,
        "choose image, registry, local, tar, oci, docker, disk or cacheonly",
      );
  }
}

/** Fields that say what is done anyway: times follow SOURCE_DATE_EPOCH, and the store unpacks nothing. */
const withoutEffect = ["unpack", "store", "rewrite-timestamp", "name-canonical", "dangling-name-prefix", "buildinfo"];

/** The fields of one output; those that nobody asked for are an error. */
class Fields {
  readonly type: string;
  readonly #fields: Map<string, string>;

  constructor(word: string) {
    const { type = "", ...rest } = parseFields(word);
    this.type = type;
    this.#fields = new Map(Object.entries(rest).map(([name, value]) => [name, value ?? ""]));
    for (const name of withoutEffect) this.flag(name);
  }

  text(name: string): string | undefined {
    const value = this.#fields.get(name);
    this.#fields.delete(name);
    return value === "" ? undefined : value;
  }

  /** A field without a value is a yes. */
  flag(name: string): boolean | undefined {
    const value = this.#fields.get(name);
    this.#fields.delete(name);
    if (value === undefined) return undefined;
    if (/^(|1|t|true)$/i.test(value)) return true;
    if (/^(0|f|false)$/i.test(value)) return false;
    throw usage(`--output type=${this.type}: ${name} is true or false, not "${value}"`, `write ${name}=true`);
  }

  names(): readonly string[] {
    return (this.text("name") ?? "").split(",").filter(Boolean).map(normaliseReference);
  }

  variant(annotations: readonly Annotation[]): ImageVariant {
    const own = [...this.#fields].flatMap(([name, value]) => {
      const annotation = annotationField(name, value);
      if (annotation) this.#fields.delete(name);
      return annotation ?? [];
    });
    const ociTypes = this.flag("oci-mediatypes");
    const { compression, level } = this.#compression();
    if (compression === "zstd" && ociTypes === false) {
      throw usage("Docker's media types have no zstd layers", "leave oci-mediatypes=false away");
    }
    return {
      compression,
      level,
      force: this.flag("force-compression") ?? false,
      dockerTypes: ociTypes === false,
      annotations: [...annotations, ...own],
    };
  }

  #compression(): Pick<ImageVariant, "compression" | "level"> {
    const word = this.text("compression") ?? "gzip";
    const text = this.text("compression-level");
    const level = text === undefined ? undefined : Number(text);
    if (word === "estargz") {
      throw new AegisError("COMPRESSION_UNSUPPORTED", "aegis writes no estargz layers", {
        hint: "gzip layers are read wherever estargz ones are: compression=gzip",
      });
    }
    const most = { uncompressed: undefined, gzip: 9, zstd: 19 }[word];
    if (!["uncompressed", "gzip", "zstd"].includes(word)) {
      throw usage(`compression=${word} is not known`, "choose uncompressed, gzip or zstd");
    }
    if (level !== undefined && most !== undefined && !(Number.isInteger(level) && level >= 0 && level <= most)) {
      throw usage(`compression-level=${text} is not one of ${word}`, `give a whole number from 0 to ${most}`);
    }
    const compression = word === "uncompressed" ? "none" : word === "zstd" ? "zstd" : "gzip";
    return { compression, ...(level === undefined || most === undefined ? {} : { level }) };
  }

  /** @throws AegisError USAGE */
  finish(): void {
    const [first] = this.#fields.keys();
    if (first === undefined) return;
    throw usage(
      `--output type=${this.type} has no field "${first}"`,
      "images know name, push, push-by-digest, tar, compression, compression-level, force-compression, oci-mediatypes and annotation.KEY; trees know platform-split",
    );
  }
}

function needed(type: string, dest: string | undefined, what: string): string {
  if (dest !== undefined) return dest;
  throw usage(`--output type=${type} says no dest`, `write it as --output type=${type},dest=${what}`);
}

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

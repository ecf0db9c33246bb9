/** `--output`, `--push`, `--load`: where the result goes besides the store. */
import { AegisError } from "../support/errors.js";
import { parseFields } from "./request-secrets.js";

export type BuildOutput =
  /** More names, and whether they are pushed. */
  | { readonly type: "image"; readonly names: readonly string[]; readonly push: boolean }
  /** The root filesystem as files of a directory, or as a tar. */
  | { readonly type: "local"; readonly directory: string }
  | { readonly type: "tar"; readonly file: string }
  /** An archive that others load; it is both an OCI layout and docker's format. */
  | { readonly type: "archive"; readonly file: string }
  /** One bootable ext4 image. */
  | { readonly type: "disk"; readonly file: string };

/** `-` is standard output. */
export const standardOutput = "-";

/** @throws AegisError USAGE */
export function buildOutputs(
  words: readonly string[],
  flags: { readonly push: boolean; readonly load: boolean },
): readonly BuildOutput[] {
  const outputs = words.map(parseOutput);
  // The store is where images are, so there is nothing more to load.
  return flags.push ? [...outputs, { type: "image", names: [], push: true }] : outputs;
}

function parseOutput(word: string): BuildOutput {
  if (!/(^|,)type=/.test(word)) {
    if (word === standardOutput) return { type: "tar", file: word };
    if (/^[a-z-]+=/.test(word))
      throw usage(`--output "${word}" says no type`, "write it as --output type=local,dest=DIR");
    return { type: "local", directory: word };
  }
  const { type, dest, name, push, ...rest } = parseFields(word);
  const names = (name ?? "").split(",").filter(Boolean);
  const needed = (): string => {
    if (dest) return dest;
    throw usage(`--output type=${type} says no dest`, `write it as --output type=${type},dest=PATH`);
  };
  // What the store does anyway: media types of OCI, times by SOURCE_DATE_EPOCH.
  const { "oci-mediatypes": _media, "rewrite-timestamp": _times, unpack: _unpack, ...unknown } = rest;
  const [first] = Object.keys(unknown);
  if (first !== undefined)
    throw usage(`--output type=${type} has no field "${first}"`, "the fields are type, dest, name and push");
  switch (type) {
    case "image":
      return { type, names, push: push === "true" || push === "" };
    case "registry":
      return { type: "image", names, push: true };
    case "local":
      return { type, directory: needed() };
    case "tar":
      return { type, file: needed() };
    case "disk":
      return { type, file: needed() };
    case "oci":
    case "docker":
      return dest || type === "oci" ? { type: "archive", file: needed() } : { type: "image", names, push: false };
    default:
      throw usage(`--output can't be of type "${type}"`, "choose image, registry, local, tar, oci, docker or disk");
  }
}

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

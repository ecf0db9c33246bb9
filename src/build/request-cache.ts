/** `--cache-from` and `--cache-to`: places outside of this machine that remember steps. */
import path from "node:path";
import { isDigest } from "../oci/digests.js";
import { normaliseReference } from "../oci/references.js";
import type { Digest } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import { parseFields } from "./request-secrets.js";

export type CacheSource =
  /** A layout's directory. */
  | { readonly type: "local"; readonly directory: string; readonly tag: string; readonly digest?: Digest | undefined }
  /** What a registry has under a name: a cache, or an image that carries one. */
  | { readonly type: "registry"; readonly reference: string };

/** `min`: layers of the result alone; `max`: those of every step. */
export type CacheMode = "min" | "max";

export type CacheTarget =
  /** Into the image's config. */
  | { readonly type: "inline" }
  | ({ readonly type: "local"; readonly directory: string; readonly tag: string } & CacheExport)
  | ({ readonly type: "registry"; readonly reference: string } & CacheExport);

interface CacheExport {
  readonly mode: CacheMode;
  /** A failure is a warning. */
  readonly ignoreError: boolean;
}

/** @throws AegisError USAGE, BAD_REFERENCE */
export function cacheSource(word: string): CacheSource {
  const flag = "--cache-from";
  const { type, ...fields } = typed(word, flag);
  if (type === "registry") {
    only(flag, type, fields, ["ref"]);
    return { type, reference: normaliseReference(needed(flag, type, fields, "ref", "NAME")) };
  }
  if (type === "local") {
    only(flag, type, fields, ["src", "tag", "digest"]);
    const { tag, digest } = fields;
    if (digest !== undefined && !isDigest(digest)) {
      throw usage(`${flag} type=local: "${digest}" is not a digest`, "write it as digest=sha256:...");
    }
    const directory = path.resolve(needed(flag, type, fields, "src", "DIR"));
    return { type, directory, tag: tag || defaultTag, ...(digest === undefined ? {} : { digest }) };
  }
  throw otherType(flag, type, "local or registry");
}

/** @throws AegisError USAGE, BAD_REFERENCE */
export function cacheTarget(word: string): CacheTarget {
  const flag = "--cache-to";
  const { type, mode = "min", "ignore-error": ignored = "false", ...fields } = typed(word, flag);
  // What these caches are anyway.
  for (const name of ["oci-mediatypes", "image-manifest"]) {
    if (fields[name] === "true") delete fields[name];
  }
  if (mode !== "min" && mode !== "max") throw usage(`${flag}: mode can't be "${mode}"`, "choose min or max");
  const ignoreError = ignored === "true" || ignored === "";
  if (!ignoreError && ignored !== "false") {
    throw usage(`${flag}: ignore-error can't be "${ignored}"`, "choose true or false");
  }
  if (type === "inline") {
    only(flag, type, fields, []);
    if (mode === "max") {
      throw usage(`${flag} type=inline has no mode=max`, "an image carries its own layers only; use type=registry");
    }
    return { type };
  }
  if (type === "registry") {
    only(flag, type, fields, ["ref"]);
    return { type, mode, ignoreError, reference: normaliseReference(needed(flag, type, fields, "ref", "NAME")) };
  }
  if (type === "local") {
    only(flag, type, fields, ["dest", "tag"]);
    const directory = path.resolve(needed(flag, type, fields, "dest", "DIR"));
    return { type, mode, ignoreError, directory, tag: fields.tag || defaultTag };
  }
  throw otherType(flag, type, "inline, local or registry");
}

/** How BuildKit calls the entry of a local cache that is not called otherwise. */
const defaultTag = "latest";

type Fields = Record<string, string | undefined>;

/** A word without any field is a name, as in Docker. */
function typed(word: string, flag: string): Fields & { readonly type: string } {
  if (word === "") throw usage(`${flag} names nothing`, `write it as ${flag} type=registry,ref=NAME`);
  if (!/(^|,)[a-z-]+=/.test(word)) return { type: "registry", ref: word };
  const { type, ...fields } = parseFields(word);
  if (!type) throw usage(`${flag} "${word}" says no type`, `write it as ${flag} type=registry,ref=NAME`);
  return { ...fields, type };
}

function only(flag: string, type: string, fields: Fields, names: readonly string[]): void {
  const unknown = Object.keys(fields).find((name) => !names.includes(name));
  if (unknown === undefined) return;
  const common = flag === "--cache-to" && type !== "inline" ? ["mode", "ignore-error"] : [];
  const hint = `the fields are ${["type", ...names, ...common].join(", ")}`;
  throw usage(`${flag} type=${type} has no field "${unknown}"${fields[unknown] ? `=${fields[unknown]}` : ""}`, hint);
}

function needed(flag: string, type: string, fields: Fields, name: string, shape: string): string {
  const value = fields[name];
  if (value) return value;
  throw usage(`${flag} type=${type} says no ${name}`, `write it as ${flag} type=${type},${name}=${shape}`);
}

const otherType = (flag: string, type: string, known: string) =>
  usage(`${flag} can't be of type "${type}"`, `choose ${known}`);

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

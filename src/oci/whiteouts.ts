/** Names in a layer that mean removal. OCI image spec, layer.md "Whiteouts". */
import type { ByteString } from "../support/brands.js";
import { AegisError } from "../support/errors.js";

const prefix = ".wh.";
const opaque = ".wh..wh..opq";

export interface Whiteout {
  /** `whiteout` removes `path`; `opaque` hides what lower layers have in the directory `path`. */
  readonly kind: "whiteout" | "opaque";
  readonly path: ByteString;
}

/**
 * What a layer entry's path removes, or undefined for an ordinary entry.
 * @throws AegisError TAR_CORRUPT for a whiteout of `.`, `..` or nothing, which would reach outside of its directory
 */
export function parseWhiteout(path: ByteString): Whiteout | undefined {
  const slash = path.lastIndexOf("/");
  if (!path.startsWith(prefix, slash + 1)) return undefined;
  const base = path.slice(slash + 1);
  if (base === opaque) return { kind: "opaque", path: path.slice(0, Math.max(slash, 0)) as ByteString };
  const hidden = base.slice(prefix.length);
  if (hidden === "" || hidden === "." || hidden === "..") {
    throw new AegisError("TAR_CORRUPT", `the layer has a whiteout of "${hidden}", which names nothing`);
  }
  return { kind: "whiteout", path: `${path.slice(0, slash + 1)}${hidden}` as ByteString };
}

/** The layer entry that removes `path`. */
export function whiteoutOf(path: ByteString): ByteString {
  const slash = path.lastIndexOf("/");
  return `${path.slice(0, slash + 1)}${prefix}${path.slice(slash + 1)}` as ByteString;
}

/** The layer entry that hides what lower layers have in `directory`. */
export const opaqueMarkerOf = (directory: ByteString): ByteString =>
  (directory === "" ? opaque : `${directory}/${opaque}`) as ByteString;

/** Bookkeeping of the AUFS driver that old layers carry at their root; it is no content. */
export const isAufsMetadata = (path: ByteString): boolean => path.startsWith(".wh..wh.") && path !== opaque;

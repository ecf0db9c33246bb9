/** Names in an archive are hostile: what comes out of here always lies inside of the tree. */
import type { ByteString } from "../../support/brands.js";
import { cleanPath } from "../../support/tree-paths.js";

/** Linux: NAME_MAX and PATH_MAX without the final NUL. */
const maxName = 255;
const maxPath = 4095;

/** What becomes of a relative name whose `..` lead out of the tree: it stops at the root, or it is an error. */
export type Climbing = "stop" | "refuse";

/**
 * A path as a tree entry has it: relative, without empty, `.` and `..` components. Absolute names lose their slash and
 * `..` stops at the root, as containerd does it for layers (lexically, before any link is looked at); empty is the root
 * itself. Throws a plain Error for what no filesystem can hold, and for what climbs when that is refused.
 */
export function normalisePath(raw: ByteString, climbing: Climbing): ByteString {
  if (raw.includes("\0")) throw new Error("a name contains a NUL");
  // GNU tar writes `./` before everything below the directory that it was given.
  const bare = raw.startsWith("./") ? (raw.slice(2) as ByteString) : raw;
  const relative = !raw.startsWith("/");
  const path = isNormal(bare) ? bare : cleanPath(raw, relative && climbing === "refuse" ? climbed : undefined);
  if (path.length > maxPath) throw new Error("a path is longer than 4095 bytes");
  if (path.length <= maxName) return path;
  for (let at = 0; at < path.length; ) {
    const found = path.indexOf("/", at);
    const end = found < 0 ? path.length : found;
    if (end - at > maxName) throw new Error("a name is longer than 255 bytes");
    at = end + 1;
  }
  return path;
}

/** A symlink's target is kept as it is; the kernel's limit holds. */
export function checkSymlinkTarget(target: ByteString): ByteString {
  if (target === "") throw new Error("a symbolic link has no target");
  if (target.includes("\0")) throw new Error("a symbolic link's target contains a NUL");
  if (target.length > maxPath) throw new Error("a symbolic link's target is longer than 4095 bytes");
  return target;
}

/** Neither empty nor with an empty, `.` or `..` component. */
function isNormal(path: string): boolean {
  let start = 0;
  for (let at = 0; at <= path.length; at++) {
    if (at < path.length && path.charCodeAt(at) !== slash) continue;
    const length = at - start;
    if (length === 0 || (path.charCodeAt(start) === dot && length === 1)) return false;
    if (length === 2 && path.charCodeAt(start) === dot && path.charCodeAt(start + 1) === dot) return false;
    start = at + 1;
  }
  return true;
}

const [slash, dot] = [0x2f, 0x2e];

function climbed(): never {
  throw new Error("a name leads out of the archive");
}

/** Paths inside file trees: relative byte strings without `.` or `..`; the empty path is the root. */
import type { ByteString } from "./brands.js";

export const joinPath = (directory: string, name: string): ByteString =>
  (directory === "" ? name : `${directory}/${name}`) as ByteString;

/** The path of what is at `path` below `top`; an empty one is `top` itself. */
export const pathBelow = (top: ByteString, path: ByteString): ByteString => (path === "" ? top : joinPath(top, path));

/** The other way: `path`, which is `top` or lies below it, as it is seen from there. */
export const pathFrom = (top: ByteString, path: ByteString): ByteString =>
  top === "" ? path : (path.slice(top.length + 1) as ByteString);

/** Directory and last component. */
export function splitPath(path: ByteString): readonly [directory: ByteString, name: ByteString] {
  const slash = path.lastIndexOf("/");
  return [path.slice(0, Math.max(slash, 0)) as ByteString, path.slice(slash + 1) as ByteString];
}

export const parentOf = (path: ByteString): ByteString => splitPath(path)[0];

export const baseName = (path: ByteString): ByteString => splitPath(path)[1];

/** Drops slashes and `.`, and resolves `..` by text: at the root it stays there, or `onClimb` is called, to throw. */
export function cleanPath(path: string, onClimb?: () => never): ByteString {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") {
      if (parts.pop() === undefined) onClimb?.();
    } else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/") as ByteString;
}

/**
 * The exact path that `path` (which may be absolute, and climb) leads to when symbolic links are followed inside the tree, as
 * under a chroot. What is missing stays as it is written, so the answer is also where a new file would go. Undefined after
 * `mostLinks` links.
 * @param linkAt the target of the symbolic link at an exact path, if one is there
 */
export async function followLinks(
  linkAt: (path: ByteString) => Promise<string | undefined>,
  path: string,
  options: {
    readonly mostLinks: number;
    readonly followLast: boolean;
    /** Called, to throw, where `..` would leave the tree; without it the path stays at the root there. */
    readonly onClimb?: () => never;
  },
): Promise<ByteString | undefined> {
  const pending = path.split("/").reverse();
  let at = "" as ByteString;
  for (let links = 0; pending.length > 0; ) {
    const name = pending.pop()!;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      if (at === "") options.onClimb?.();
      at = parentOf(at);
      continue;
    }
    const here = joinPath(at, name);
    const target = pending.length > 0 || options.followLast ? await linkAt(here) : undefined;
    if (target === undefined) {
      at = here;
      continue;
    }
    if (++links > options.mostLinks) return undefined;
    if (target.startsWith("/")) at = "" as ByteString;
    pending.push(...target.split("/").reverse());
  }
  return at;
}

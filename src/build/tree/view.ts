/**
 * A read-only file tree that can be asked by path: a build context, an image's root, a stage's result. Paths are relative
 * byte strings without `.` or `..`; the empty path is the root. No method follows symbolic links; `resolvePath` does.
 */
import type { ByteString } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { EntryType, Timespec, TreeSink } from "../../support/tree.js";

export type NodeType = Exclude<EntryType, "hardlink">;

export interface TreeNode {
  readonly type: NodeType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timespec;
  /** Bytes of a file's content. */
  readonly size: number;
  readonly linkTarget?: ByteString | undefined;
  readonly devMajor?: number | undefined;
  readonly devMinor?: number | undefined;
  readonly xattrs?: ReadonlyMap<string, Uint8Array> | undefined;
  /** The same for all names of one inode; undefined when it has one name. */
  readonly inode?: string | undefined;
}

export interface TreeView {
  lstat(path: ByteString): Promise<TreeNode | undefined>;
  /** Names in a directory, in no particular order; empty when it isn't one. */
  readdir(path: ByteString): Promise<readonly ByteString[]>;
  /** Pushes a file's content into `sink` as `data` and `hole` calls. */
  read(path: ByteString, sink: TreeSink): Promise<void>;
}

export const emptyView: TreeView = {
  lstat: async (path) => (path === "" ? rootNode : undefined),
  readdir: async () => [],
  read: async () => undefined,
};

/** What a directory looks like that no layer describes. */
export const rootNode: TreeNode = {
  type: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { sec: 0, nsec: 0 },
  size: 0,
};

export const joinPath = (directory: string, name: string): ByteString =>
  (directory === "" ? name : `${directory}/${name}`) as ByteString;

export const parentOf = (path: ByteString): ByteString =>
  path.slice(0, Math.max(0, path.lastIndexOf("/"))) as ByteString;

export const baseName = (path: ByteString): ByteString => path.slice(path.lastIndexOf("/") + 1) as ByteString;

/** Drops slashes and `.`, and resolves `..` by text; it never climbs above the root. */
export function cleanPath(path: string): ByteString {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/") as ByteString;
}

/** What following links needs to ask. */
export interface Lstat {
  lstat(path: ByteString): Promise<Pick<TreeNode, "type" | "linkTarget"> | undefined>;
}

/**
 * The path that `path` leads to when every symbolic link, the last one too, is followed inside the tree, as under a chroot.
 * Components that don't exist are taken as written.
 * @throws AegisError SYMLINK_LOOP after 255 links, the reference's bound
 */
export async function resolvePath(view: Lstat, path: string): Promise<ByteString> {
  const pending = path.split("/").reverse();
  let at = "" as ByteString;
  let links = 0;
  while (pending.length > 0) {
    const part = pending.pop()!;
    if (part === "" || part === ".") continue;
    if (part === "..") {
      at = parentOf(at);
      continue;
    }
    const next = joinPath(at, part);
    const node = await view.lstat(next);
    if (node?.type !== "symlink") {
      at = next;
      continue;
    }
    if (++links > 255) {
      throw new AegisError("SYMLINK_LOOP", `too many symbolic links in ${path}`, {
        hint: "a link leads back to itself",
      });
    }
    const target = node.linkTarget ?? "";
    if (target.startsWith("/")) at = "" as ByteString;
    pending.push(...target.split("/").reverse());
  }
  return at;
}

/**
 * A read-only file tree that can be asked by path: a build context, an image's root, a stage's result. Paths are relative
 * byte strings without `.` or `..`; the empty path is the root. No method follows symbolic links; `resolvePath` does.
 */
import type { ByteString } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { EntryType, TreeEntry, TreeSink } from "../../support/tree.js";
import { followLinks } from "../../support/tree-paths.js";

export type NodeType = Exclude<EntryType, "hardlink">;

/** What stands at a path: an entry without its name. */
export interface TreeNode extends Omit<TreeEntry, "path" | "type"> {
  readonly type: NodeType;
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

/** What following links needs to ask. */
export interface Lstat {
  lstat(path: ByteString): Promise<Pick<TreeNode, "type" | "linkTarget"> | undefined>;
}

/**
 * The path that `path` leads to when every symbolic link, the last one too, is followed inside the tree, as under a chroot.
 * Components that don't exist are taken as written; `onClimb` is called, to throw, where `..` leaves the tree.
 * @throws AegisError SYMLINK_LOOP after 255 links, the reference's bound
 */
export async function resolvePath(view: Lstat, path: string, onClimb?: () => never): Promise<ByteString> {
  const linkAt = async (at: ByteString) => {
    const node = await view.lstat(at);
    return node?.type === "symlink" ? (node.linkTarget ?? "") : undefined;
  };
  const found = await followLinks(linkAt, path, { mostLinks: 255, followLast: true, ...(onClimb ? { onClimb } : {}) });
  if (found !== undefined) return found;
  throw new AegisError("SYMLINK_LOOP", `too many symbolic links in ${path}`, { hint: "a link leads back to itself" });
}

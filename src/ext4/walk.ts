/** A subtree of a filesystem as a stream of entries. */
import type { ByteString } from "../support/brands.js";
import type { TreeEntry, TreeSink } from "../support/tree.js";
import { BlockBudget } from "./block-map.js";
import { type Ext4Dirent, readDirectory } from "./directory-reader.js";
import { corrupt, unsupported } from "./failures.js";
import { pieces, symlinkTarget } from "./file-reader.js";
import type { Filesystem } from "./filesystem.js";
import { inodeFlags } from "./inode.js";
import type { Ext4Inode } from "./inode-reader.js";
import { xattrsOf } from "./xattr-reader.js";

export interface WalkOptions {
  /** Leaves out what it says true to, with everything below it. Paths are relative to the walk's root. */
  readonly skip?: ((path: ByteString, inode: Ext4Inode) => boolean) | undefined;
  readonly signal?: AbortSignal | undefined;
}

const BUFFER_SIZE = 1 << 20;
/** Bounds on what a hostile image can make a walk remember. */
const MAX_HELD_ENTRIES = 4_000_000;
const MAX_PATH_LENGTH = 65536;

interface Level {
  readonly path: ByteString;
  readonly entries: readonly Ext4Dirent[];
  next: number;
}

/**
 * Pushes `root` (with the empty path) and everything below it, depth first, names in byte order. The second and later names of
 * an inode are hard links. Sockets are left out: no archive has them.
 */
export async function walkTree(fs: Filesystem, root: Ext4Inode, sink: TreeSink, options: WalkOptions): Promise<void> {
  if (root.type !== "directory") throw corrupt(`inode ${root.number} is not a directory`);
  const budget = new BlockBudget(fs);
  const buffer = Buffer.allocUnsafeSlow(BUFFER_SIZE);
  const directories = new Set<number>([root.number]);
  const links = new Map<number, ByteString>();
  const stack: Level[] = [];
  let held = 0;
  const open = (path: ByteString, inode: Ext4Inode) => {
    const entries = sortedEntries(fs, inode, budget, MAX_HELD_ENTRIES - held);
    held += entries.length;
    stack.push({ path, entries, next: 0 });
  };

  sink.entry(toEntry(fs, "" as ByteString, root, undefined));
  open("" as ByteString, root);
  for (let level = stack.at(-1); level; level = stack.at(-1)) {
    const dirent = level.entries[level.next++];
    if (!dirent) {
      stack.pop();
      held -= level.entries.length;
      continue;
    }
    options.signal?.throwIfAborted();
    const path = (level.path === "" ? dirent.name : `${level.path}/${dirent.name}`) as ByteString;
    if (path.length > MAX_PATH_LENGTH) throw unsupported(`paths of more than ${MAX_PATH_LENGTH} bytes`);
    const inode = fs.inode(dirent.inode);
    if (inode.type === "socket" || options.skip?.(path, inode)) continue;
    const first = inode.links > 1 && inode.type !== "directory" ? links.get(inode.number) : undefined;
    sink.entry(toEntry(fs, path, inode, first));
    if (first !== undefined) continue;
    if (inode.type === "directory") {
      if (directories.has(inode.number)) throw corrupt(`directory ${inode.number} has more than one name`);
      directories.add(inode.number);
      open(path, inode);
    } else {
      if (inode.links > 1) links.set(inode.number, path);
      if (inode.type === "file") await pushContent(fs, inode, sink, buffer, budget);
    }
    // Small files too must give the sink its chance to hold us back.
    const full = sink.drain();
    if (full) await full;
  }
}

async function pushContent(
  fs: Filesystem,
  inode: Ext4Inode,
  sink: TreeSink,
  buffer: Buffer,
  budget: BlockBudget,
): Promise<void> {
  for (const piece of pieces(fs, inode, buffer, budget)) {
    if ("hole" in piece) sink.hole(piece.hole);
    else sink.data(piece.data);
    const full = sink.drain();
    if (full) await full;
  }
}

function sortedEntries(fs: Filesystem, inode: Ext4Inode, budget: BlockBudget, limit: number): Ext4Dirent[] {
  const entries: Ext4Dirent[] = [];
  for (const entry of readDirectory(fs, inode, budget)) {
    if (entries.length === limit) {
      throw unsupported(`more than ${MAX_HELD_ENTRIES} names in a directory and those above it`);
    }
    entries.push(entry);
  }
  // Code units are bytes here, so this is byte order.
  entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (let i = 1; i < entries.length; i++) {
    if (entries[i]!.name === entries[i - 1]!.name) throw corrupt(`directory ${inode.number} has a name twice`);
  }
  return entries;
}

function toEntry(fs: Filesystem, path: ByteString, inode: Ext4Inode, hardlink: ByteString | undefined): TreeEntry {
  if (inode.flags & inodeFlags.encrypt) throw unsupported("encrypted files");
  const { mode, uid, gid, mtime } = inode;
  const common = { path, mode, uid, gid, mtime };
  if (hardlink !== undefined) return { ...common, type: "hardlink", size: 0, linkTarget: hardlink };
  const xattrs = xattrsOf(fs, inode);
  const withXattrs = xattrs.size > 0 ? { ...common, xattrs } : common;
  switch (inode.type) {
    case "symlink": {
      const linkTarget = symlinkTarget(fs, inode).toString("latin1") as ByteString;
      return { ...withXattrs, type: "symlink", size: 0, linkTarget };
    }
    case "char":
    case "block":
      return { ...withXattrs, type: inode.type, size: 0, devMajor: inode.devMajor, devMinor: inode.devMinor };
    case "file":
      return { ...withXattrs, type: "file", size: inode.size };
    case "directory":
    case "fifo":
      return { ...withXattrs, type: inode.type, size: 0 };
    case "socket":
      throw corrupt(`inode ${inode.number} is a socket`);
  }
}

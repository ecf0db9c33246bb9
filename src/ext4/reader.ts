/**
 * Reads ext2, ext3 and ext4 filesystems out of an image, without mounting it and without changing it; a journal that the last
 * user left behind is taken into account. The image may be hostile: every pointer is checked, work and memory are bounded by
 * the image's size, and what is wrong ends in an error.
 */
import type { ByteString } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { TreeSink } from "../support/tree.js";
import { type Ext4Dirent, readDirectory } from "./directory-reader.js";
import { type Piece, pieces, readRange, type Segment, segments, symlinkTarget } from "./file-reader.js";
import { type OpenOptions, openFilesystem } from "./filesystem.js";
import { ROOT_INODE } from "./inode.js";
import type { Ext4Inode } from "./inode-reader.js";
import { replayJournal } from "./journal-replay.js";
import { fileSource, type RandomAccessSource } from "./source.js";
import { incompat } from "./superblock.js";
import { type WalkOptions, walkTree } from "./walk.js";
import { xattrsOf } from "./xattr-reader.js";

export interface LookupOptions {
  /** Whether a symlink at the end of the path is followed; those before it always are, within the filesystem. */
  readonly followSymlinks?: boolean | undefined;
}

export interface Ext4Reader {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly label: string;
  readonly blockSize: number;
  /** Bytes of the filesystem. */
  readonly sizeBytes: number;
  /** Whether the filesystem was not unmounted: its journal had to be replayed. */
  readonly wasDirty: boolean;
  /** What is at a path from the filesystem's root; undefined if nothing is. */
  lookup(path: ByteString, options?: LookupOptions): Ext4Inode | undefined;
  /** An inode in use by its number. */
  stat(inode: number): Ext4Inode;
  /** Entries of a directory but `.` and `..`, in no particular order. */
  readdir(directory: Ext4Inode): Iterable<Ext4Dirent>;
  /** Bytes `[offset, offset + length)` of a file, fewer at its end. */
  read(file: Ext4Inode, offset: number, length: number): Buffer;
  /** Data and holes of a file, together its size. */
  segments(file: Ext4Inode): Iterable<Segment>;
  /** The content of a file in order, in pieces of at most 1 MiB that are valid until the next one. */
  content(file: Ext4Inode): Iterable<Piece>;
  symlinkTarget(symlink: Ext4Inode): ByteString;
  /** Extended attributes by full name, values as the system calls give them. */
  xattrs(inode: Ext4Inode): ReadonlyMap<string, Uint8Array>;
  /**
   * Pushes the directory at `root` (as the empty path) and everything below it, depth first, names in byte order; further
   * names of an inode as hard links. Sockets are left out.
   */
  walk(root: ByteString, sink: TreeSink, options?: WalkOptions): Promise<void>;
}

/** Symlinks followed for one path, as in the kernel. */
const MAX_SYMLINKS = 40;

/**
 * Opens a filesystem; the source must stay readable and unchanged while the reader is used.
 * @throws AegisError EXT4_CORRUPT, EXT4_UNSUPPORTED; so do the reader's methods
 */
export function openExt4(source: { readonly fd: number } | RandomAccessSource, options: OpenOptions = {}): Ext4Reader {
  const bytes = "fd" in source ? fileSource(source.fd) : source;
  const onDisk = openFilesystem(bytes, options);
  const wasDirty = onDisk.hasIncompat(incompat.recover);
  const journaled = wasDirty ? replayJournal(onDisk) : new Map();
  const fs = journaled.size > 0 ? openFilesystem(bytes, options, journaled) : onDisk;

  const find = (directory: Ext4Inode, name: string): Ext4Inode | undefined => {
    for (const entry of readDirectory(fs, directory)) if (entry.name === name) return fs.inode(entry.inode);
    return undefined;
  };
  const target = (symlink: Ext4Inode) => symlinkTarget(fs, symlink).toString("latin1") as ByteString;

  const lookup = (path: ByteString, followLast: boolean): Ext4Inode | undefined => {
    const todo = path.split("/").reverse();
    // The directories from the root to where the walk is: `..` needs no trust in what the disk says.
    const trail = [fs.inode(ROOT_INODE)];
    let budget = MAX_SYMLINKS;
    while (todo.length > 0) {
      const name = todo.pop()!;
      const at = trail.at(-1)!;
      if (name === "" || name === ".") continue;
      if (at.type !== "directory") return undefined;
      if (name === "..") {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const inode = find(at, name);
      if (!inode) return undefined;
      if (inode.type !== "symlink" || (todo.length === 0 && !followLast)) {
        trail.push(inode);
        continue;
      }
      if (budget-- === 0) throw new AegisError("EXT4_SYMLINK_LOOP", "the path leads through too many symlinks");
      const link = target(inode);
      if (link.startsWith("/")) trail.length = 1;
      todo.push(...link.split("/").reverse());
    }
    return trail.at(-1);
  };

  return {
    uuid: fs.superblock.uuid,
    label: Buffer.from(fs.superblock.volumeName).toString("utf8").replace(/\0.*$/s, ""),
    blockSize: fs.blockSize,
    sizeBytes: fs.blocks * fs.blockSize,
    wasDirty,
    lookup: (path, { followSymlinks = false } = {}) => lookup(path, followSymlinks),
    stat: (number) => fs.inode(number),
    readdir: (directory) => readDirectory(fs, directory),
    read: (file, offset, length) => readRange(fs, file, offset, length),
    segments: (file) => segments(fs, file),
    // No larger than the file: a step that writes many small ones would fill the memory with buffers.
    content: (file) => {
      const blocks = Math.max(1, Math.ceil(file.size / fs.blockSize));
      return pieces(fs, file, Buffer.allocUnsafeSlow(Math.min(1 << 20, blocks * fs.blockSize)));
    },
    symlinkTarget: target,
    xattrs: (inode) => xattrsOf(fs, inode),
    async walk(root, sink, walkOptions = {}) {
      const inode = lookup(root, true);
      if (!inode) throw new AegisError("EXT4_NO_SUCH_PATH", `there is no "${root}" in the filesystem`);
      await walkTree(fs, inode, sink, walkOptions);
    },
  };
}

/** ext4 filesystems as bytes: a writer that turns a file tree into an image, a reader that gives it back. */
export type { Ext4Dirent } from "./directory-reader.js";
export type { Piece, Segment } from "./file-reader.js";
export type { OpenOptions } from "./filesystem.js";
export type { InodeType } from "./inode.js";
export type { Ext4Inode } from "./inode-reader.js";
export { type Ext4Reader, type LookupOptions, openExt4 } from "./reader.js";
export type { RandomAccessSource } from "./source.js";
export type { WalkOptions } from "./walk.js";
export {
  createExt4Writer,
  type Ext4Summary,
  type Ext4Writer,
  type Ext4WriterOptions,
  type WrittenNode,
} from "./writer.js";

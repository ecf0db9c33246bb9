/**
 * ext4 filesystems as bytes: a writer that turns a file tree into an image, a reader that gives it back. The types are those
 * of its signatures.
 */
/** @public */
export type { Ext4Dirent } from "./directory-reader.js";
/** @public */
export type { Piece, Segment } from "./file-reader.js";
/** @public */
export type { OpenOptions } from "./filesystem.js";
/** @public */
export type { InodeType } from "./inode.js";
/** @public */
export type { Ext4Inode } from "./inode-reader.js";
/** @public */
export { type Ext4Reader, type LookupOptions, openExt4 } from "./reader.js";
/** @public */
export type { RandomAccessSource } from "./source.js";
/** @public */
export type { WalkOptions } from "./walk.js";
/** @public */
export {
  createExt4Writer,
  type Ext4Summary,
  type Ext4Writer,
  type Ext4WriterOptions,
  type WrittenNode,
} from "./writer.js";

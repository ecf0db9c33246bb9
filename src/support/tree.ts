/**
 * The one shape in which file trees travel between rooms: a layer's tar, an ext4 image, a directory on the host. A producer
 * pushes entries into a sink; content follows its entry. Nothing here does I/O.
 */
import type { ByteString } from "./brands.js";

export interface Timespec {
  /** Seconds since the epoch; may be negative. */
  readonly sec: number;
  /** 0 to 999,999,999. */
  readonly nsec: number;
}

export type EntryType = "file" | "directory" | "symlink" | "hardlink" | "char" | "block" | "fifo";

export interface TreeEntry {
  /** Relative, without leading or trailing slash, without `.` or `..` components; empty for the root directory itself. */
  readonly path: ByteString;
  readonly type: EntryType;
  /** Permission bits, at most 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timespec;
  /** Bytes of content of a file (holes included); 0 otherwise. */
  readonly size: number;
  /** Symlink: the target as it is stored. Hardlink: `path` of an entry pushed before. */
  readonly linkTarget?: ByteString | undefined;
  readonly devMajor?: number | undefined;
  readonly devMinor?: number | undefined;
  /** Full names (`security.capability`), byte strings as paths are; values raw. */
  readonly xattrs?: ReadonlyMap<string, Uint8Array> | undefined;
}

/**
 * Takes a tree. Calls are synchronous for speed: after `entry` of a file come `data` and `hole` calls that add up to its
 * `size` exactly. Chunks are borrowed: they are valid only during the call.
 */
export interface TreeSink {
  entry(entry: TreeEntry): void;
  data(chunk: Uint8Array): void;
  /** `length` zero bytes that need no storage. */
  hole(length: number): void;
  /** A producer awaits this between reads (about once per MiB); undefined when there is room. */
  drain(): Promise<void> | undefined;
}

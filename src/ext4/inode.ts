/** Inodes. Kernel docs: ext4/inodes.rst. */
import type { EntryType, Timespec } from "../support/tree.js";
import { crc32c, crc32cWord } from "./crc32c.js";

export const ROOT_INODE = 2;
export const JOURNAL_INODE = 8;
export const LOST_FOUND_INODE = 11;
export const FIRST_INODE = 11;

/** File type bits of i_mode. */
export const fileMode = {
  fifo: 0x1000,
  char: 0x2000,
  directory: 0x4000,
  block: 0x6000,
  file: 0x8000,
  symlink: 0xa000,
  socket: 0xc000,
  mask: 0xf000,
} as const;

export type InodeType = Exclude<EntryType, "hardlink"> | "socket";

/** What a directory entry's type byte says, by file type bits. */
const direntTypes = new Map<number, number>([
  [fileMode.file, 1],
  [fileMode.directory, 2],
  [fileMode.char, 3],
  [fileMode.block, 4],
  [fileMode.fifo, 5],
  [fileMode.socket, 6],
  [fileMode.symlink, 7],
]);
export const direntType = (mode: number): number => direntTypes.get(mode & fileMode.mask) ?? 0;

const inodeTypes = new Map<number, InodeType>(
  (["fifo", "char", "directory", "block", "file", "symlink", "socket"] as const).map((type) => [fileMode[type], type]),
);
export const inodeType = (mode: number): InodeType | undefined => inodeTypes.get(mode & fileMode.mask);

export const inodeFlags = {
  encrypt: 0x800,
  index: 0x1000,
  extents: 0x80000,
  eaInode: 0x200000,
  inlineData: 0x10000000,
} as const;

/** Byte offsets within an inode. */
export const inodeOffset = {
  mode: 0x00,
  uidLow: 0x02,
  sizeLow: 0x04,
  accessTime: 0x08,
  changeTime: 0x0c,
  modifyTime: 0x10,
  deleteTime: 0x14,
  gidLow: 0x18,
  links: 0x1a,
  sectorsLow: 0x1c,
  flags: 0x20,
  block: 0x28,
  generation: 0x64,
  xattrBlockLow: 0x68,
  sizeHigh: 0x6c,
  sectorsHigh: 0x74,
  xattrBlockHigh: 0x76,
  uidHigh: 0x78,
  gidHigh: 0x7a,
  checksumLow: 0x7c,
  extraSize: 0x80,
  checksumHigh: 0x82,
  changeTimeExtra: 0x84,
  modifyTimeExtra: 0x88,
  accessTimeExtra: 0x8c,
  createTime: 0x90,
  createTimeExtra: 0x94,
} as const;

/** Bytes of i_block: block map, extent root, fast symlink target or inline data. */
export const INLINE_SIZE = 60;
/** Bytes past the first 128 that the fields above take. */
export const EXTRA_SIZE = 32;
/** Where extended attributes start in an inode of ours. */
export const INLINE_XATTR_OFFSET = 128 + EXTRA_SIZE;
/** More hard links than this the kernel refuses (EXT4_LINK_MAX). */
export const MAX_LINKS = 65000;

export interface InodeFields {
  /** With the file type bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly links: number;
  readonly flags: number;
  /** Of 512 bytes each: content, extent blocks and extended attribute block. */
  readonly sectors: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly xattrBlock: number;
}

/**
 * Writes an inode's fixed fields into 256 zeroed bytes at `at`. All four times are the modification time, so that the same
 * tree always gives the same bytes. The checksum comes last, see `sealInode`.
 */
export function encodeInode(f: InodeFields, out: Buffer, at: number): void {
  const o = inodeOffset;
  out.writeUInt16LE(f.mode, at + o.mode);
  out.writeUInt16LE(f.uid & 0xffff, at + o.uidLow);
  out.writeUInt16LE(f.uid >>> 16, at + o.uidHigh);
  out.writeUInt16LE(f.gid & 0xffff, at + o.gidLow);
  out.writeUInt16LE(f.gid >>> 16, at + o.gidHigh);
  out.writeUInt32LE(f.size % 2 ** 32, at + o.sizeLow);
  out.writeUInt32LE(Math.floor(f.size / 2 ** 32), at + o.sizeHigh);
  out.writeUInt16LE(f.links, at + o.links);
  out.writeUInt32LE(f.flags >>> 0, at + o.flags);
  out.writeUInt32LE(f.sectors % 2 ** 32, at + o.sectorsLow);
  out.writeUInt16LE(Math.floor(f.sectors / 2 ** 32), at + o.sectorsHigh);
  out.writeUInt32LE(f.xattrBlock % 2 ** 32, at + o.xattrBlockLow);
  out.writeUInt16LE(Math.floor(f.xattrBlock / 2 ** 32), at + o.xattrBlockHigh);
  out.writeUInt16LE(EXTRA_SIZE, at + o.extraSize);
  const seconds = f.seconds | 0;
  const extra = ((f.nanoseconds << 2) | timeEpoch(f.seconds)) >>> 0;
  out.writeInt32LE(seconds, at + o.accessTime);
  out.writeInt32LE(seconds, at + o.changeTime);
  out.writeInt32LE(seconds, at + o.modifyTime);
  out.writeInt32LE(seconds, at + o.createTime);
  out.writeUInt32LE(extra, at + o.accessTimeExtra);
  out.writeUInt32LE(extra, at + o.changeTimeExtra);
  out.writeUInt32LE(extra, at + o.modifyTimeExtra);
  out.writeUInt32LE(extra, at + o.createTimeExtra);
}

/** Puts the checksum into a complete inode. */
export function sealInode(inode: number, seed: number, out: Buffer, at: number, size: number): void {
  const checksum = inodeChecksum(inode, seed, out, at, size);
  out.writeUInt16LE(checksum & 0xffff, at + inodeOffset.checksumLow);
  out.writeUInt16LE(checksum >>> 16, at + inodeOffset.checksumHigh);
}

/** Checksum of an inode whose checksum fields are zero. */
function inodeChecksum(inode: number, seed: number, buffer: Buffer, at: number, size: number): number {
  const generation = buffer.readUInt32LE(at + inodeOffset.generation);
  return crc32c(inodeSeed(seed, inode, generation), buffer, at, at + size);
}

/** What the checksums of an inode's own blocks (directories, extents) start from. */
export function inodeSeed(seed: number, inode: number, generation = 0): number {
  return crc32cWord(crc32cWord(seed, inode), generation);
}

const MIN_SECONDS = -(2 ** 31);
/** 2446-05-10: 34 bits of seconds, counted from 1901. */
const MAX_SECONDS = 2 ** 34 - 2 ** 31 - 1;

/** A time as ext4 can hold it: outside of 1901 to 2446 it becomes the nearest end, as the kernel does. */
export function clampTime(time: Timespec): Timespec {
  if (time.sec < MIN_SECONDS) return { sec: MIN_SECONDS, nsec: 0 };
  if (time.sec > MAX_SECONDS) return { sec: MAX_SECONDS, nsec: 0 };
  return time;
}

/** Times are signed 32 bits plus two epoch bits: how often 2^32 s have to be added to the signed value. */
function timeEpoch(seconds: number): number {
  return Math.floor((seconds - (seconds | 0)) / 2 ** 32) & 3;
}

/** A time from its 32 bits and its extra field (0 where the inode is too short for one). */
export function decodeTime(seconds: number, extra: number): Timespec {
  return { sec: (seconds | 0) + (extra & 3) * 2 ** 32, nsec: Math.min(extra >>> 2, 999_999_999) };
}

/** Device numbers as the kernel stores them in i_block: 8:8 bits in the first word, or 12:20 in the second. */
export function encodeDevice(major: number, minor: number, out: Buffer, at: number): void {
  if (major < 256 && minor < 256) out.writeUInt32LE((major << 8) | minor, at);
  else out.writeUInt32LE(((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0, at + 4);
}

export function decodeDevice(block: Buffer): { major: number; minor: number } {
  const old = block.readUInt32LE(0);
  if (old !== 0) return { major: (old >>> 8) & 0xff, minor: old & 0xff };
  const dev = block.readUInt32LE(4);
  return { major: (dev >>> 8) & 0xfff, minor: (dev & 0xff) | ((dev >>> 12) & 0xfff00) };
}

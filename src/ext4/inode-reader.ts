/** Inodes as a reader sees them. */
import type { Timespec } from "../support/tree.js";
import { crc32c } from "./crc32c.js";
import { corrupt } from "./failures.js";
import type { Filesystem } from "./filesystem.js";
import { decodeDevice, decodeTime, INLINE_SIZE, type InodeType, inodeOffset, inodeSeed, inodeType } from "./inode.js";
import { incompat } from "./superblock.js";

export interface Ext4Inode {
  readonly number: number;
  readonly type: InodeType;
  /** Permission bits, at most 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content; of a symlink's target. */
  readonly size: number;
  readonly links: number;
  readonly atime: Timespec;
  readonly mtime: Timespec;
  readonly ctime: Timespec;
  /** Of device nodes. */
  readonly devMajor: number | undefined;
  readonly devMinor: number | undefined;
  /** Stored: content, its block map and extended attributes, in units of 512 bytes (of blocks for huge files). */
  readonly sectors: number;
  readonly flags: number;
  readonly generation: number;
  /** Block of extended attributes, or 0. */
  readonly xattrBlock: number;
  /** The inode's bytes. */
  readonly raw: Buffer;
}

/** Reads an inode that is in use; checks its checksum. */
export function decodeInode(fs: Filesystem, number: number, bytes: Buffer): Ext4Inode {
  const raw = Buffer.from(bytes);
  const o = inodeOffset;
  const fullMode = raw.readUInt16LE(o.mode);
  const type = inodeType(fullMode);
  const links = raw.readUInt16LE(o.links);
  if (!type) throw corrupt(`inode ${number} is unused or of an unknown type`);
  const extraSize = fs.inodeSize > 128 ? raw.readUInt16LE(o.extraSize) : 0;
  if (128 + extraSize > fs.inodeSize || extraSize % 4 !== 0)
    throw corrupt(`inode ${number} has extra fields of ${extraSize} bytes`);
  const generation = raw.readUInt32LE(o.generation);
  if (fs.checksumSeed !== undefined) verifyChecksum(fs.checksumSeed, number, generation, raw, extraSize);
  const size = raw.readUInt32LE(o.sizeLow) + sizeHigh(fs, type, raw) * 2 ** 32;
  if (size > 2 ** 32 * fs.blockSize) throw corrupt(`inode ${number} has a size of ${size} bytes`);
  const extra = (offset: number) => (128 + extraSize >= offset + 4 ? raw.readUInt32LE(offset) : 0);
  const device =
    type === "char" || type === "block" ? decodeDevice(raw.subarray(o.block, o.block + INLINE_SIZE)) : undefined;
  return {
    number,
    type,
    mode: fullMode & 0o7777,
    uid: raw.readUInt16LE(o.uidLow) + raw.readUInt16LE(o.uidHigh) * 0x10000,
    gid: raw.readUInt16LE(o.gidLow) + raw.readUInt16LE(o.gidHigh) * 0x10000,
    size,
    links,
    atime: decodeTime(raw.readUInt32LE(o.accessTime), extra(o.accessTimeExtra)),
    mtime: decodeTime(raw.readUInt32LE(o.modifyTime), extra(o.modifyTimeExtra)),
    ctime: decodeTime(raw.readUInt32LE(o.changeTime), extra(o.changeTimeExtra)),
    devMajor: device?.major,
    devMinor: device?.minor,
    sectors: raw.readUInt32LE(o.sectorsLow) + raw.readUInt16LE(o.sectorsHigh) * 2 ** 32,
    flags: raw.readUInt32LE(o.flags),
    generation,
    xattrBlock: raw.readUInt32LE(o.xattrBlockLow) + raw.readUInt16LE(o.xattrBlockHigh) * 2 ** 32,
    raw,
  };
}

/** In old filesystems the field means something else for directories. */
function sizeHigh(fs: Filesystem, type: InodeType, raw: Buffer): number {
  if (type === "file" || (type === "directory" && fs.hasIncompat(incompat.largeDir)))
    return raw.readUInt32LE(inodeOffset.sizeHigh);
  return 0;
}

function verifyChecksum(seed: number, number: number, generation: number, raw: Buffer, extraSize: number): void {
  const hasHigh = raw.length > 128 && extraSize >= 4;
  const high = hasHigh ? raw.readUInt16LE(inodeOffset.checksumHigh) : 0;
  const stored = raw.readUInt16LE(inodeOffset.checksumLow) + high * 0x10000;
  const copy = Buffer.from(raw);
  copy.writeUInt16LE(0, inodeOffset.checksumLow);
  if (hasHigh) copy.writeUInt16LE(0, inodeOffset.checksumHigh);
  const computed = crc32c(inodeSeed(seed, number, generation), copy);
  if ((hasHigh ? computed : computed & 0xffff) !== stored) throw corrupt(`the checksum of inode ${number} is wrong`);
}

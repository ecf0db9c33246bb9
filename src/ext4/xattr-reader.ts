/** Extended attributes of an inode: in the inode, in a block, or with values in inodes of their own. */
import { BlockBudget, mappedExtents } from "./block-map.js";
import { crc32c, crc32cLong } from "./crc32c.js";
import { corrupt } from "./failures.js";
import type { Filesystem } from "./filesystem.js";
import { inodeFlags, inodeOffset } from "./inode.js";
import type { Ext4Inode } from "./inode-reader.js";
import {
  fromStored,
  XATTR_BLOCK_HEADER_SIZE,
  XATTR_ENTRY_SIZE,
  XATTR_MAGIC,
  xattrBlockLayout,
  xattrEntryLayout,
} from "./xattr.js";

export interface RawXattr {
  readonly index: number;
  readonly name: Buffer;
  readonly value: Buffer;
}

/** Longest value that the system calls give (XATTR_SIZE_MAX). */
const MAX_VALUE_SIZE = 65536;

/** All attributes as they are stored, inode first. */
export function* rawXattrs(fs: Filesystem, inode: Ext4Inode): Generator<RawXattr> {
  const inline = inlineArea(fs, inode);
  if (inline) yield* parseEntries(fs, inode, inline, 0, 0);
  if (inode.xattrBlock === 0) return;
  const block = Buffer.from(fs.device.block(inode.xattrBlock));
  const header = xattrBlockLayout.decode(block);
  if (header.magic !== XATTR_MAGIC || header.blocks !== 1)
    throw corrupt(`the attribute block of inode ${inode.number} is invalid`);
  if (fs.checksumSeed !== undefined) {
    const copy = Buffer.from(block);
    xattrBlockLayout.encode({ checksum: 0 }, copy);
    if (crc32c(crc32cLong(fs.checksumSeed, inode.xattrBlock), copy) !== header.checksum) {
      throw corrupt(`the checksum of inode ${inode.number}'s attribute block is wrong`);
    }
  }
  yield* parseEntries(fs, inode, block, XATTR_BLOCK_HEADER_SIZE, 0);
}

/** What follows the magic number in the inode. */
function inlineArea(fs: Filesystem, inode: Ext4Inode): Buffer | undefined {
  if (fs.inodeSize <= 128) return undefined;
  const at = 128 + inode.raw.readUInt16LE(inodeOffset.extraSize);
  if (at + 8 > fs.inodeSize || inode.raw.readUInt32LE(at) !== XATTR_MAGIC) return undefined;
  return inode.raw.subarray(at + 4);
}

function* parseEntries(
  fs: Filesystem,
  inode: Ext4Inode,
  area: Buffer,
  start: number,
  base: number,
): Generator<RawXattr> {
  const invalid = () => corrupt(`an extended attribute of inode ${inode.number} is invalid`);
  for (let at = start; ; ) {
    if (at + 4 > area.length) throw invalid();
    if (area.readUInt32LE(at) === 0) return;
    if (at + XATTR_ENTRY_SIZE > area.length) throw invalid();
    const entry = xattrEntryLayout.decode(area, at);
    const nameEnd = at + XATTR_ENTRY_SIZE + entry.nameLength;
    if (nameEnd > area.length || entry.valueSize > MAX_VALUE_SIZE) throw invalid();
    const name = Buffer.from(area.subarray(at + XATTR_ENTRY_SIZE, nameEnd));
    let value: Buffer;
    if (entry.valueInode !== 0) {
      value = valueOfInode(fs, entry.valueInode, entry.valueSize);
    } else {
      const from = base + entry.valueOffset;
      if (from + entry.valueSize > area.length) throw invalid();
      value = Buffer.from(area.subarray(from, from + entry.valueSize));
    }
    yield { index: entry.nameIndex, name, value };
    at += XATTR_ENTRY_SIZE + ((entry.nameLength + 3) & ~3);
  }
}

function valueOfInode(fs: Filesystem, number: number, size: number): Buffer {
  const inode = fs.inode(number);
  if (!(inode.flags & inodeFlags.eaInode) || inode.type !== "file" || inode.size !== size) {
    throw corrupt(`inode ${number} is not the value of an extended attribute`);
  }
  const value = Buffer.alloc(Math.ceil(size / fs.blockSize) * fs.blockSize);
  for (const { logical, physical, length, unwritten } of mappedExtents(fs, inode, new BlockBudget(fs))) {
    const at = logical * fs.blockSize;
    if (at >= value.length) break;
    if (!unwritten) fs.device.read(value.subarray(at, Math.min(value.length, at + length * fs.blockSize)), physical);
  }
  return value.subarray(0, size);
}

/** Attributes by full name, values as the system calls give them. */
export function xattrsOf(fs: Filesystem, inode: Ext4Inode): Map<string, Uint8Array> {
  const result = new Map<string, Uint8Array>();
  for (const { index, name, value } of rawXattrs(fs, inode)) {
    const shown = fromStored(index, name, value);
    if (shown) result.set(shown[0], shown[1]);
  }
  return result;
}

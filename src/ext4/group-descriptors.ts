/** Block group descriptors. Kernel docs: ext4/group_descr.rst. */
import { crc32c, crc32cWord } from "./crc32c.js";
import { struct, u16, u32 } from "./struct.js";

/** The first 32 bytes exist in every filesystem, the rest where the descriptor size says so (64BIT). */
export const shortDescriptorLayout = struct({
  blockBitmapLow: u32(0x00),
  inodeBitmapLow: u32(0x04),
  inodeTableLow: u32(0x08),
  freeBlocksLow: u16(0x0c),
  freeInodesLow: u16(0x0e),
  usedDirectoriesLow: u16(0x10),
  flags: u16(0x12),
  blockBitmapChecksumLow: u16(0x18),
  inodeBitmapChecksumLow: u16(0x1a),
  unusedInodesLow: u16(0x1c),
  checksum: u16(0x1e),
});

export const longDescriptorLayout = struct({
  blockBitmapHigh: u32(0x20),
  inodeBitmapHigh: u32(0x24),
  inodeTableHigh: u32(0x28),
  freeBlocksHigh: u16(0x2c),
  freeInodesHigh: u16(0x2e),
  usedDirectoriesHigh: u16(0x30),
  unusedInodesHigh: u16(0x32),
  blockBitmapChecksumHigh: u16(0x38),
  inodeBitmapChecksumHigh: u16(0x3a),
});

export const groupFlags = {
  /** No inode of the group is in use; its bitmap isn't written. */
  inodeUninit: 0x1,
  /** No block of the group is in use but its own metadata; its bitmap isn't written. */
  blockUninit: 0x2,
  /** The inode table is known to be zero where it is unused. */
  inodeZeroed: 0x4,
} as const;

export interface BlockGroupDescriptor {
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
  readonly freeBlocks: number;
  readonly freeInodes: number;
  readonly usedDirectories: number;
  readonly flags: number;
  readonly unusedInodes: number;
  readonly blockBitmapChecksum: number;
  readonly inodeBitmapChecksum: number;
}

/**
 * Writes the 64-byte descriptor of `group` at `at`, checksum included. By hand, for a new instance's empty disk consists of
 * hundreds of them: laid out as in the tables above.
 */
export function encodeDescriptor(d: BlockGroupDescriptor, group: number, seed: number, out: Buffer, at: number): void {
  writeBlock(d.blockBitmap, out, at, at + 0x20);
  writeBlock(d.inodeBitmap, out, at + 0x04, at + 0x24);
  writeBlock(d.inodeTable, out, at + 0x08, at + 0x28);
  writeHalves(d.freeBlocks, out, at + 0x0c, at + 0x2c);
  writeHalves(d.freeInodes, out, at + 0x0e, at + 0x2e);
  writeHalves(d.usedDirectories, out, at + 0x10, at + 0x30);
  out.writeUInt16LE(d.flags, at + 0x12);
  writeHalves(d.blockBitmapChecksum, out, at + 0x18, at + 0x38);
  writeHalves(d.inodeBitmapChecksum, out, at + 0x1a, at + 0x3a);
  writeHalves(d.unusedInodes, out, at + 0x1c, at + 0x32);
  out.writeUInt16LE(0, at + 0x1e);
  out.writeUInt16LE(crc32c(crc32cWord(seed, group), out, at, at + 64) & 0xffff, at + 0x1e);
}

function writeBlock(block: number, out: Buffer, low: number, high: number): void {
  out.writeUInt32LE(block % 2 ** 32, low);
  out.writeUInt32LE(Math.floor(block / 2 ** 32), high);
}

function writeHalves(value: number, out: Buffer, low: number, high: number): void {
  out.writeUInt16LE(value & 0xffff, low);
  out.writeUInt16LE(value >>> 16, high);
}

/** Where a group's inode table starts. */
export function decodeInodeTable(buffer: Buffer, at: number, descriptorSize: number): number {
  const { inodeTableLow } = shortDescriptorLayout.decode(buffer, at);
  const high32 = descriptorSize >= 64 ? longDescriptorLayout.decode(buffer, at).inodeTableHigh : 0;
  return inodeTableLow + high32 * 2 ** 32;
}

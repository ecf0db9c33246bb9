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

const low = (value: number) => value % 0x10000;
const high = (value: number) => Math.floor(value / 0x10000);

/** Writes the 64-byte descriptor of `group` at `at`, checksum included. */
export function encodeDescriptor(d: BlockGroupDescriptor, group: number, seed: number, out: Buffer, at: number): void {
  shortDescriptorLayout.encode(
    {
      blockBitmapLow: d.blockBitmap % 2 ** 32,
      inodeBitmapLow: d.inodeBitmap % 2 ** 32,
      inodeTableLow: d.inodeTable % 2 ** 32,
      freeBlocksLow: low(d.freeBlocks),
      freeInodesLow: low(d.freeInodes),
      usedDirectoriesLow: low(d.usedDirectories),
      flags: d.flags,
      blockBitmapChecksumLow: low(d.blockBitmapChecksum),
      inodeBitmapChecksumLow: low(d.inodeBitmapChecksum),
      unusedInodesLow: low(d.unusedInodes),
      checksum: 0,
    },
    out,
    at,
  );
  longDescriptorLayout.encode(
    {
      blockBitmapHigh: Math.floor(d.blockBitmap / 2 ** 32),
      inodeBitmapHigh: Math.floor(d.inodeBitmap / 2 ** 32),
      inodeTableHigh: Math.floor(d.inodeTable / 2 ** 32),
      freeBlocksHigh: high(d.freeBlocks),
      freeInodesHigh: high(d.freeInodes),
      usedDirectoriesHigh: high(d.usedDirectories),
      unusedInodesHigh: high(d.unusedInodes),
      blockBitmapChecksumHigh: high(d.blockBitmapChecksum),
      inodeBitmapChecksumHigh: high(d.inodeBitmapChecksum),
    },
    out,
    at,
  );
  const checksum = crc32c(crc32cWord(seed, group), out, at, at + 64);
  shortDescriptorLayout.encode({ checksum: low(checksum) }, out, at);
}

/** Where a group's inode table starts. */
export function decodeInodeTable(buffer: Buffer, at: number, descriptorSize: number): number {
  const { inodeTableLow } = shortDescriptorLayout.decode(buffer, at);
  const high32 = descriptorSize >= 64 ? longDescriptorLayout.decode(buffer, at).inodeTableHigh : 0;
  return inodeTableLow + high32 * 2 ** 32;
}

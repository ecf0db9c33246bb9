/** The journal's on-disk format, all big-endian. Kernel docs: ext4/journal.rst. */
import { crc32c } from "./crc32c.js";
import { be32, bytes, struct, u8 } from "./struct.js";

export const JOURNAL_MAGIC = 0xc03b3998;
export const JOURNAL_SUPERBLOCK_SIZE = 1024;

export const journalBlockType = { descriptor: 1, commit: 2, superblockV1: 3, superblockV2: 4, revoke: 5 } as const;

export const journalHeaderLayout = struct({ magic: be32(0x0), type: be32(0x4), sequence: be32(0x8) });

export const journalSuperblockLayout = struct({
  magic: be32(0x00),
  type: be32(0x04),
  blockSize: be32(0x0c),
  /** Blocks of the journal. */
  length: be32(0x10),
  /** First block of the log. */
  first: be32(0x14),
  /** Number of the first transaction expected in the log. */
  sequence: be32(0x18),
  /** Block where the log starts; 0 when it is empty. */
  start: be32(0x1c),
  errno: be32(0x20),
  featureCompat: be32(0x24),
  featureIncompat: be32(0x28),
  featureRoCompat: be32(0x2c),
  uuid: bytes(0x30, 16),
  users: be32(0x40),
  checksumType: u8(0x50),
  checksum: be32(0xfc),
  firstUser: bytes(0x100, 16),
});

export const journalFeature = {
  revoke: 0x1,
  sixtyFourBit: 0x2,
  asyncCommit: 0x4,
  checksumV2: 0x8,
  checksumV3: 0x10,
  fastCommit: 0x20,
} as const;

export const CRC32C_CHECKSUM = 4;

/** Checksum of a journal superblock, its own field counted as zero. */
export function journalSuperblockChecksum(superblock: Uint8Array): number {
  const copy = Buffer.from(superblock.subarray(0, JOURNAL_SUPERBLOCK_SIZE));
  copy.writeUInt32BE(0, 0xfc);
  return crc32c(0xffffffff, copy);
}

/** The superblock of an empty journal of `length` blocks. */
export function encodeJournalSuperblock(uuid: Uint8Array, length: number, blockSize: number): Buffer {
  const out = Buffer.alloc(JOURNAL_SUPERBLOCK_SIZE);
  journalSuperblockLayout.encode(
    {
      magic: JOURNAL_MAGIC,
      type: journalBlockType.superblockV2,
      blockSize,
      length,
      first: 1,
      sequence: 1,
      start: 0,
      featureIncompat: journalFeature.sixtyFourBit | journalFeature.checksumV3,
      uuid,
      users: 1,
      checksumType: CRC32C_CHECKSUM,
    },
    out,
  );
  journalSuperblockLayout.encode({ checksum: journalSuperblockChecksum(out) }, out);
  return out;
}

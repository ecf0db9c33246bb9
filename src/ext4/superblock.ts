/** The superblock: 1024 bytes at offset 1024. Kernel docs: ext4/super.rst ("Super Block"). */
import { crc32c } from "./crc32c.js";
import { bytes, struct, u8, u16, u32 } from "./struct.js";

export const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_SIZE = 1024;
export const SUPERBLOCK_MAGIC = 0xef53;

export const superblockLayout = struct({
  inodesCount: u32(0x00),
  blocksCountLow: u32(0x04),
  reservedBlocksCountLow: u32(0x08),
  freeBlocksCountLow: u32(0x0c),
  freeInodesCount: u32(0x10),
  firstDataBlock: u32(0x14),
  logBlockSize: u32(0x18),
  logClusterSize: u32(0x1c),
  blocksPerGroup: u32(0x20),
  clustersPerGroup: u32(0x24),
  inodesPerGroup: u32(0x28),
  mountTime: u32(0x2c),
  writeTime: u32(0x30),
  mountCount: u16(0x34),
  maxMountCount: u16(0x36),
  magic: u16(0x38),
  state: u16(0x3a),
  errors: u16(0x3c),
  minorRevision: u16(0x3e),
  lastCheck: u32(0x40),
  checkInterval: u32(0x44),
  creatorOs: u32(0x48),
  revision: u32(0x4c),
  firstInode: u32(0x54),
  inodeSize: u16(0x58),
  blockGroup: u16(0x5a),
  featureCompat: u32(0x5c),
  featureIncompat: u32(0x60),
  featureRoCompat: u32(0x64),
  uuid: bytes(0x68, 16),
  volumeName: bytes(0x78, 16),
  reservedGdtBlocks: u16(0xce),
  journalUuid: bytes(0xd0, 16),
  journalInode: u32(0xe0),
  journalDevice: u32(0xe4),
  lastOrphan: u32(0xe8),
  hashSeed: bytes(0xec, 16),
  defaultHashVersion: u8(0xfc),
  journalBackupType: u8(0xfd),
  descriptorSize: u16(0xfe),
  defaultMountOptions: u32(0x100),
  firstMetaBg: u32(0x104),
  mkfsTime: u32(0x108),
  /** Copy of the journal inode's i_block, then its size's high and low half. */
  journalBlocks: bytes(0x10c, 68),
  blocksCountHigh: u32(0x150),
  reservedBlocksCountHigh: u32(0x154),
  freeBlocksCountHigh: u32(0x158),
  minExtraIsize: u16(0x15c),
  wantExtraIsize: u16(0x15e),
  flags: u32(0x160),
  logGroupsPerFlex: u8(0x174),
  checksumType: u8(0x175),
  backupGroups: bytes(0x24c, 8),
  checksumSeed: u32(0x270),
  checksum: u32(0x3fc),
});
export type Superblock = ReturnType<typeof superblockLayout.decode>;

export const compat = {
  hasJournal: 0x4,
  extendedAttributes: 0x8,
  resizeInode: 0x10,
  dirIndex: 0x20,
  sparseSuper2: 0x200,
} as const;

export const incompat = {
  compression: 0x1,
  filetype: 0x2,
  recover: 0x4,
  journalDevice: 0x8,
  metaBg: 0x10,
  extents: 0x40,
  sixtyFourBit: 0x80,
  multiMountProtection: 0x100,
  flexBg: 0x200,
  eaInode: 0x400,
  dirData: 0x1000,
  checksumSeed: 0x2000,
  largeDir: 0x4000,
  inlineData: 0x8000,
  encrypt: 0x10000,
  casefold: 0x20000,
} as const;

export const roCompat = {
  sparseSuper: 0x1,
  largeFile: 0x2,
  hugeFile: 0x8,
  groupChecksum: 0x10,
  dirNlink: 0x20,
  extraIsize: 0x40,
  bigalloc: 0x200,
  metadataChecksum: 0x400,
  sharedBlocks: 0x4000,
} as const;

/** s_flags: how the directory hash treats bytes above 0x7f. */
export const superblockFlags = { signedHash: 0x1, unsignedHash: 0x2 } as const;

/** What every metadata checksum of the filesystem starts from, unless the superblock stores a seed. */
export const checksumSeed = (uuid: Uint8Array): number => crc32c(0xffffffff, uuid);

/** Gives the superblock's 1024 bytes for each group that has a copy, checksum included; a result is valid until the next. */
export function superblockCopies(values: Partial<Superblock>): (blockGroup: number) => Buffer {
  const buffer = Buffer.alloc(SUPERBLOCK_SIZE);
  superblockLayout.encode(values, buffer);
  return (blockGroup) => {
    superblockLayout.encode({ blockGroup }, buffer);
    superblockLayout.encode({ checksum: superblockChecksum(buffer) }, buffer);
    return buffer;
  };
}

/** Checksum over everything before the checksum field itself. */
export const superblockChecksum = (buffer: Uint8Array): number => crc32c(0xffffffff, buffer, 0, 0x3fc);

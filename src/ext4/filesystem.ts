/** An opened filesystem: its superblock, checked, and where its inodes are. */
import { BlockDevice, type JournaledBlock } from "./block-device.js";
import { crc32c, crc32cWord } from "./crc32c.js";
import { corrupt, unsupported } from "./failures.js";
import { hasSuperblock } from "./geometry.js";
import { decodeInodeTable, shortDescriptorLayout } from "./group-descriptors.js";
import { decodeInode, type Ext4Inode } from "./inode-reader.js";
import type { RandomAccessSource } from "./source.js";
import {
  checksumSeed,
  compat,
  incompat,
  roCompat,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
  SUPERBLOCK_SIZE,
  type Superblock,
  superblockChecksum,
  superblockLayout,
} from "./superblock.js";

/** Everything a reader has to understand to read files. */
const knownIncompat =
  incompat.filetype |
  incompat.recover |
  incompat.metaBg |
  incompat.extents |
  incompat.sixtyFourBit |
  incompat.multiMountProtection |
  incompat.flexBg |
  incompat.eaInode |
  incompat.checksumSeed |
  incompat.largeDir |
  incompat.inlineData |
  incompat.encrypt |
  incompat.casefold;

const MAX_CACHED_TABLES = 65536;

export interface OpenOptions {
  /** False lets damaged or altered metadata through, as far as it makes sense. True unless told. */
  readonly verifyChecksums?: boolean | undefined;
}

export interface Filesystem {
  readonly device: BlockDevice;
  readonly superblock: Superblock;
  readonly blockSize: number;
  readonly blocks: number;
  readonly inodeSize: number;
  /** What metadata checksums start from; undefined where there are none, or none are to be checked. */
  readonly checksumSeed: number | undefined;
  hasIncompat(feature: number): boolean;
  inode(number: number): Ext4Inode;
}

/** Opens the filesystem in `source`, `journaled` lying over it. */
export function openFilesystem(
  source: RandomAccessSource,
  options: OpenOptions,
  journaled: ReadonlyMap<number, JournaledBlock> = new Map(),
): Filesystem {
  const raw = readSuperblock(source, journaled);
  const superblock = superblockLayout.decode(raw);
  const shape = checkSuperblock(superblock, source.size);
  const hasChecksums = (superblock.featureRoCompat & roCompat.metadataChecksum) !== 0;
  const verify = hasChecksums && options.verifyChecksums !== false;
  if (verify && (superblock.checksumType !== 1 || superblockChecksum(raw) !== superblock.checksum)) {
    throw corrupt("the superblock's checksum is wrong");
  }
  const hasIncompat = (feature: number) => (superblock.featureIncompat & feature) !== 0;
  const seed = hasIncompat(incompat.checksumSeed) ? superblock.checksumSeed : checksumSeed(superblock.uuid);
  const device = new BlockDevice(source, shape.blockSize, shape.blocks, journaled);
  const tables = new Map<number, number>();
  const tableOf = (group: number): number => {
    const known = tables.get(group);
    if (known !== undefined) return known;
    if (tables.size === MAX_CACHED_TABLES) tables.clear();
    const table = inodeTable(filesystem, group);
    tables.set(group, table);
    return table;
  };
  const filesystem: Filesystem = {
    device,
    superblock,
    ...shape,
    checksumSeed: verify ? seed : undefined,
    hasIncompat,
    inode(number) {
      if (!(number >= 1 && number <= superblock.inodesCount)) throw corrupt(`there is no inode ${number}`);
      const group = Math.floor((number - 1) / superblock.inodesPerGroup);
      const index = (number - 1) % superblock.inodesPerGroup;
      const offset = index * shape.inodeSize;
      const block = device.block(tableOf(group) + Math.floor(offset / shape.blockSize));
      const at = offset % shape.blockSize;
      return decodeInode(filesystem, number, block.subarray(at, at + shape.inodeSize));
    },
  };
  return filesystem;
}

function readSuperblock(source: RandomAccessSource, journaled: ReadonlyMap<number, JournaledBlock>): Buffer {
  if (source.size < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE) throw notExt4();
  const raw = Buffer.alloc(SUPERBLOCK_SIZE);
  source.read(raw, SUPERBLOCK_OFFSET);
  const { magic, logBlockSize } = superblockLayout.decode(raw);
  if (magic !== SUPERBLOCK_MAGIC) throw notExt4();
  if (logBlockSize > 6) throw corrupt(`a block size of 2^${10 + logBlockSize} bytes`);
  const blockSize = 1024 << logBlockSize;
  const block = Math.floor(SUPERBLOCK_OFFSET / blockSize);
  const entry = journaled.get(block);
  if (entry) source.read(raw, entry.block * blockSize + (SUPERBLOCK_OFFSET % blockSize));
  return raw;
}

const notExt4 = () => corrupt("there is no ext4 superblock");

function checkSuperblock(s: Superblock, size: number): { blockSize: number; blocks: number; inodeSize: number } {
  if (s.magic !== SUPERBLOCK_MAGIC) throw notExt4();
  const unknown = s.featureIncompat & ~knownIncompat;
  if (unknown !== 0)
    throw unsupported(`features that this reader doesn't know (incompat 0x${(unknown >>> 0).toString(16)})`);
  const blockSize = 1024 << s.logBlockSize;
  const is64Bit = (s.featureIncompat & incompat.sixtyFourBit) !== 0;
  const blocks = s.blocksCountLow + (is64Bit ? s.blocksCountHigh * 2 ** 32 : 0);
  const inodeSize = s.revision === 0 ? 128 : s.inodeSize;
  if (s.logBlockSize > 6 || blocks * blockSize > size) throw corrupt("it is larger than the image file");
  if (inodeSize < 128 || inodeSize > blockSize || (inodeSize & (inodeSize - 1)) !== 0)
    throw corrupt(`inodes of ${inodeSize} bytes`);
  if (
    s.blocksPerGroup === 0 ||
    s.inodesPerGroup === 0 ||
    s.inodesPerGroup > blockSize * 8 ||
    s.firstDataBlock >= blocks
  ) {
    throw corrupt("impossible block groups");
  }
  const groups = Math.ceil((blocks - s.firstDataBlock) / s.blocksPerGroup);
  if (s.inodesCount > groups * s.inodesPerGroup) throw corrupt("more inodes than its groups hold");
  if (is64Bit && (s.descriptorSize < 64 || s.descriptorSize > blockSize || s.descriptorSize % 8 !== 0)) {
    throw corrupt(`group descriptors of ${s.descriptorSize} bytes`);
  }
  return { blockSize, blocks, inodeSize };
}

function inodeTable(fs: Filesystem, group: number): number {
  const { superblock, blockSize } = fs;
  const size = fs.hasIncompat(incompat.sixtyFourBit) ? superblock.descriptorSize : 32;
  const perBlock = Math.floor(blockSize / size);
  const block = fs.device.block(descriptorBlock(fs, Math.floor(group / perBlock), perBlock));
  const at = (group % perBlock) * size;
  if (fs.checksumSeed !== undefined) {
    const stored = shortDescriptorLayout.decode(block, at).checksum;
    const copy = Buffer.from(block.subarray(at, at + size));
    shortDescriptorLayout.encode({ checksum: 0 }, copy);
    if ((crc32c(crc32cWord(fs.checksumSeed, group), copy) & 0xffff) !== stored) {
      throw corrupt(`the checksum of group ${group}'s descriptor is wrong`);
    }
  }
  return decodeInodeTable(block, at, size);
}

/** Where the nth block of group descriptors lies: after the superblock, or in its meta block group. */
function descriptorBlock({ superblock, blockSize, hasIncompat }: Filesystem, index: number, perBlock: number): number {
  const superblockBlock = blockSize === 1024 ? 1 : 0;
  if (!hasIncompat(incompat.metaBg) || index < superblock.firstMetaBg) return superblockBlock + 1 + index;
  const group = index * perBlock;
  if (group === 0) return superblockBlock + 1;
  return superblock.firstDataBlock + group * superblock.blocksPerGroup + (hasBackup(superblock, group) ? 1 : 0);
}

function hasBackup({ featureCompat, featureRoCompat, backupGroups }: Superblock, group: number): boolean {
  if (featureCompat & compat.sparseSuper2) {
    const view = Buffer.from(backupGroups);
    return view.readUInt32LE(0) === group || view.readUInt32LE(4) === group;
  }
  return (featureRoCompat & roCompat.sparseSuper) === 0 || hasSuperblock(group);
}

/** Bitmaps, group descriptors and superblocks of a planned filesystem. */
import type { Run } from "./allocator.js";
import { crc32c } from "./crc32c.js";
import { HALF_MD4 } from "./directory-hash.js";
import {
  BLOCK_SIZE,
  BLOCKS_PER_GROUP,
  DESCRIPTOR_SIZE,
  DESCRIPTORS_PER_BLOCK,
  hasDescriptors,
  hasSuperblock,
  INODE_SIZE,
  reservedBlocks,
} from "./geometry.js";
import { type BlockGroupDescriptor, encodeDescriptor, groupFlags } from "./group-descriptors.js";
import { EXTRA_SIZE, FIRST_INODE, fileMode, JOURNAL_INODE } from "./inode.js";
import type { Identity, Parts } from "./parts.js";
import type { FilesystemPlan } from "./plan.js";
import {
  compat,
  incompat,
  roCompat,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
  type Superblock,
  superblockCopies,
  superblockFlags,
} from "./superblock.js";

/** Writes every group's bitmaps where they aren't implied, the descriptors with their copies, and the superblocks. */
export function writeGroups(
  parts: Parts,
  plan: FilesystemPlan,
  identity: Identity,
  seed: number,
  journalBackup: Uint8Array | undefined,
): void {
  const descriptors = Buffer.alloc(Math.ceil(plan.groups / DESCRIPTORS_PER_BLOCK) * BLOCK_SIZE);
  const free = freeRunsByGroup(parts.blocks.freeRuns());
  let freeBlocks = 0;
  let freeInodes = 0;
  for (let group = 0; group < plan.groups; group++) {
    const blocks = blockBitmap(group, plan, parts.blocks.tail, free.get(group) ?? []);
    const inodes = inodeBitmap(group, plan, parts);
    const descriptor = describe(group, plan, blocks, inodes, seed);
    if (blocks.isUsed) parts.output.write(descriptor.blockBitmap * BLOCK_SIZE, blocks.bitmap);
    if (inodes.isUsed) parts.output.write(descriptor.inodeBitmap * BLOCK_SIZE, inodes.bitmap);
    freeBlocks += descriptor.freeBlocks;
    freeInodes += descriptor.freeInodes;
    encodeDescriptor(descriptor, group, seed, descriptors, group * DESCRIPTOR_SIZE);
  }
  const copyFor = superblockCopies(superblockValues(plan, identity, freeBlocks, freeInodes, journalBackup));
  for (let group = 0; group < plan.groups; group++) {
    let at = group * BLOCKS_PER_GROUP * BLOCK_SIZE;
    if (hasSuperblock(group)) {
      parts.output.write(group === 0 ? SUPERBLOCK_OFFSET : at, copyFor(group));
      at += BLOCK_SIZE;
    }
    if (!hasDescriptors(group)) continue;
    const from = Math.floor(group / DESCRIPTORS_PER_BLOCK) * BLOCK_SIZE;
    parts.output.write(at, descriptors, from, from + BLOCK_SIZE);
  }
}

interface GroupBitmap {
  readonly bitmap: Buffer;
  /** False when the kernel can compute the bitmap by itself. */
  readonly isUsed: boolean;
  readonly free: number;
}

/** Free runs cut at group boundaries, by group. */
function freeRunsByGroup(runs: readonly Run[]): Map<number, Run[]> {
  const byGroup = new Map<number, Run[]>();
  for (const run of runs) {
    for (let start = run.start; start < run.start + run.length; ) {
      const group = Math.floor(start / BLOCKS_PER_GROUP);
      const end = Math.min(run.start + run.length, (group + 1) * BLOCKS_PER_GROUP);
      const list = byGroup.get(group) ?? [];
      list.push({ start, length: end - start });
      byGroup.set(group, list);
      start = end;
    }
  }
  return byGroup;
}

const emptyBitmap = Buffer.alloc(BLOCK_SIZE);

function blockBitmap(group: number, plan: FilesystemPlan, tail: number, free: readonly Run[]): GroupBitmap {
  const start = group * BLOCKS_PER_GROUP;
  const length = Math.min(BLOCKS_PER_GROUP, plan.blocks - start);
  const used = Math.max(Math.min(tail - start, length), reservedBlocks(group));
  const freed = free.reduce((sum, run) => sum + run.length, 0);
  // The kernel assumes an uninitialised group to hold only its reserved blocks. The last one is always written, for mke2fs
  // does so too.
  if (tail <= start && group < plan.groups - 1) return { bitmap: emptyBitmap, isUsed: false, free: length - used };
  const bitmap = Buffer.alloc(BLOCK_SIZE);
  setBits(bitmap, 0, used);
  for (const run of free) clearBits(bitmap, run.start - start, run.length);
  setBits(bitmap, length, BLOCKS_PER_GROUP - length);
  return { bitmap, isUsed: true, free: length - used + freed };
}

interface InodeBitmap extends GroupBitmap {
  readonly directories: number;
  /** Inodes at the end of the table that were never used. */
  readonly unused: number;
}

function inodeBitmap(group: number, plan: FilesystemPlan, { inodes }: Parts): InodeBitmap {
  const count = plan.inodesPerGroup;
  const first = group * count + 1;
  if (first >= inodes.end) return { bitmap: emptyBitmap, isUsed: false, free: count, directories: 0, unused: count };
  const bitmap = Buffer.alloc(BLOCK_SIZE);
  let used = 0;
  let directories = 0;
  const end = Math.min(first + count, inodes.end);
  for (let inode = first; inode < end; inode++) {
    const mode = inodes.mode[inode]!;
    if (mode === 0 && inode >= FIRST_INODE) continue;
    setBits(bitmap, inode - first, 1);
    used++;
    if ((mode & fileMode.mask) === fileMode.directory) directories++;
  }
  setBits(bitmap, count, BLOCKS_PER_GROUP - count);
  return { bitmap, isUsed: true, free: count - used, directories, unused: first + count - end };
}

function describe(
  group: number,
  plan: FilesystemPlan,
  blocks: GroupBitmap,
  inodes: InodeBitmap,
  seed: number,
): BlockGroupDescriptor {
  return {
    blockBitmap: plan.blockBitmaps[group]!,
    inodeBitmap: plan.inodeBitmaps[group]!,
    inodeTable: plan.inodeTables[group]!,
    freeBlocks: blocks.free,
    freeInodes: inodes.free,
    usedDirectories: inodes.directories,
    flags:
      groupFlags.inodeZeroed |
      (blocks.isUsed ? 0 : groupFlags.blockUninit) |
      (inodes.isUsed ? 0 : groupFlags.inodeUninit),
    unusedInodes: inodes.unused,
    blockBitmapChecksum: blocks.isUsed ? crc32c(seed, blocks.bitmap) : 0,
    inodeBitmapChecksum: inodes.isUsed ? crc32c(seed, inodes.bitmap, 0, plan.inodesPerGroup / 8) : 0,
  };
}

function superblockValues(
  plan: FilesystemPlan,
  identity: Identity,
  freeBlocks: number,
  freeInodes: number,
  journalBackup: Uint8Array | undefined,
): Partial<Superblock> {
  return {
    inodesCount: plan.groups * plan.inodesPerGroup,
    blocksCountLow: plan.blocks % 2 ** 32,
    blocksCountHigh: Math.floor(plan.blocks / 2 ** 32),
    freeBlocksCountLow: freeBlocks % 2 ** 32,
    freeBlocksCountHigh: Math.floor(freeBlocks / 2 ** 32),
    freeInodesCount: freeInodes,
    logBlockSize: 2,
    logClusterSize: 2,
    blocksPerGroup: BLOCKS_PER_GROUP,
    clustersPerGroup: BLOCKS_PER_GROUP,
    inodesPerGroup: plan.inodesPerGroup,
    writeTime: identity.timestamp,
    maxMountCount: 0xffff,
    magic: SUPERBLOCK_MAGIC,
    state: 1,
    errors: 1,
    lastCheck: identity.timestamp,
    revision: 1,
    firstInode: FIRST_INODE,
    inodeSize: INODE_SIZE,
    featureCompat: compat.extendedAttributes | compat.dirIndex | (journalBackup ? compat.hasJournal : 0),
    featureIncompat: incompat.filetype | incompat.metaBg | incompat.extents | incompat.sixtyFourBit | incompat.flexBg,
    featureRoCompat:
      roCompat.sparseSuper |
      roCompat.largeFile |
      roCompat.hugeFile |
      roCompat.dirNlink |
      roCompat.extraIsize |
      roCompat.metadataChecksum,
    uuid: identity.uuid,
    volumeName: Buffer.from(identity.label, "utf8"),
    hashSeed: identity.hashSeed,
    defaultHashVersion: HALF_MD4,
    descriptorSize: DESCRIPTOR_SIZE,
    // user_xattr and acl
    defaultMountOptions: 0xc,
    mkfsTime: identity.timestamp,
    ...(journalBackup ? { journalInode: JOURNAL_INODE, journalBackupType: 1, journalBlocks: journalBackup } : {}),
    minExtraIsize: EXTRA_SIZE,
    wantExtraIsize: EXTRA_SIZE,
    flags: superblockFlags.unsignedHash,
    // 16 groups: how far the kernel keeps the files of a directory together.
    logGroupsPerFlex: 4,
    // crc32c
    checksumType: 1,
  };
}

function setBits(bitmap: Buffer, from: number, count: number): void {
  const end = from + count;
  let bit = from;
  for (; bit < end && bit % 8 !== 0; bit++) bitmap[bit >> 3]! |= 1 << (bit & 7);
  if (end - bit >= 8) {
    bitmap.fill(0xff, bit >> 3, end >> 3);
    bit = end & ~7;
  }
  for (; bit < end; bit++) bitmap[bit >> 3]! |= 1 << (bit & 7);
}

function clearBits(bitmap: Buffer, from: number, count: number): void {
  const end = from + count;
  let bit = from;
  for (; bit < end && bit % 8 !== 0; bit++) bitmap[bit >> 3]! &= ~(1 << (bit & 7));
  if (end - bit >= 8) {
    bitmap.fill(0, bit >> 3, end >> 3);
    bit = end & ~7;
  }
  for (; bit < end; bit++) bitmap[bit >> 3]! &= ~(1 << (bit & 7));
}

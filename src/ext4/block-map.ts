/** Which blocks hold a file's content: extent trees and the older indirect block maps, both checked as they are walked. */
import { crc32c } from "./crc32c.js";
import {
  EXTENT_ENTRY_SIZE,
  EXTENT_HEADER_SIZE,
  EXTENT_MAGIC,
  type Extent,
  extentHeaderLayout,
  extentIndexLayout,
  extentLayout,
  MAX_EXTENT_BLOCKS,
} from "./extents.js";
import { corrupt } from "./failures.js";
import type { Filesystem } from "./filesystem.js";
import { INLINE_SIZE, inodeFlags, inodeOffset, inodeSeed } from "./inode.js";
import type { Ext4Inode } from "./inode-reader.js";

/** Deeper trees than this don't exist (EXT4_MAX_EXTENT_DEPTH). */
const MAX_DEPTH = 5;
const MAX_LOGICAL = 2 ** 32;

export interface MappedExtent extends Extent {
  /** Allocated but never written: reads as zeros. */
  readonly unwritten: boolean;
}

/**
 * Counts blocks against what the filesystem has. Every block belongs to one file, so whoever claims more than there are
 * claims some of them twice: this bounds the work that a hostile image can cause.
 */
export class BlockBudget {
  #left: number;

  constructor(readonly fs: Filesystem) {
    // Shared blocks exist in read-only filesystems only, but where they do a few owners per block are normal.
    this.#left = fs.blocks * (fs.superblock.featureRoCompat & SHARED_BLOCKS ? 64 : 1);
  }

  spend(blocks: number, inode: number): void {
    this.#left -= blocks;
    if (this.#left < 0) throw corrupt(`inode ${inode} has blocks that belong to others`);
  }
}

const SHARED_BLOCKS = 0x4000;

/** Extents of an inode's content in ascending order, without overlaps, inside of the filesystem. */
export function* mappedExtents(
  fs: Filesystem,
  inode: Ext4Inode,
  budget = new BlockBudget(fs),
): Generator<MappedExtent> {
  const field = inode.raw.subarray(inodeOffset.block, inodeOffset.block + INLINE_SIZE);
  let end = 0;
  for (const extent of inode.flags & inodeFlags.extents
    ? extentTree(fs, inode, field, budget)
    : indirectMap(fs, inode, field, budget)) {
    if (extent.logical < end) throw corrupt(`the extents of inode ${inode.number} overlap`);
    end = extent.logical + extent.length;
    if (end > MAX_LOGICAL || extent.physical < 1 || extent.physical + extent.length > fs.blocks) {
      throw corrupt(`an extent of inode ${inode.number} lies outside of the filesystem`);
    }
    budget.spend(extent.length, inode.number);
    yield extent;
  }
}

function* extentTree(fs: Filesystem, inode: Ext4Inode, root: Buffer, budget: BlockBudget): Generator<MappedExtent> {
  const seed = fs.checksumSeed === undefined ? undefined : inodeSeed(fs.checksumSeed, inode.number, inode.generation);
  yield* extentNode(root, undefined);

  function* extentNode(node: Buffer, expectedDepth: number | undefined): Generator<MappedExtent> {
    const { magic, entries, max, depth } = extentHeaderLayout.decode(node);
    const room = Math.floor((node.length - EXTENT_HEADER_SIZE) / EXTENT_ENTRY_SIZE);
    if (
      magic !== EXTENT_MAGIC ||
      entries > max ||
      max > room ||
      depth > MAX_DEPTH ||
      (expectedDepth ?? depth) !== depth
    ) {
      throw corrupt(`a node of inode ${inode.number}'s extent tree is invalid`);
    }
    // An empty node below the root would cost a visit without yielding anything.
    if (entries === 0 && expectedDepth !== undefined)
      throw corrupt(`inode ${inode.number}'s extent tree has an empty node`);
    if (seed !== undefined && expectedDepth !== undefined) verifyNode(node, max, seed, inode.number);
    for (let i = 0; i < entries; i++) {
      const at = EXTENT_HEADER_SIZE + i * EXTENT_ENTRY_SIZE;
      if (depth === 0) {
        yield decodeExtent(node, at, inode.number);
        continue;
      }
      const { childLow, childHigh } = extentIndexLayout.decode(node, at);
      budget.spend(1, inode.number);
      // Copied: the cache may drop the block while its extents are being used.
      yield* extentNode(Buffer.from(fs.device.block(childLow + childHigh * 2 ** 32)), depth - 1);
    }
  }
}

function decodeExtent(node: Buffer, at: number, inode: number): MappedExtent {
  const { logical, length, physicalLow, physicalHigh } = extentLayout.decode(node, at);
  if (length === 0) throw corrupt(`inode ${inode} has an extent without blocks`);
  const unwritten = length > MAX_EXTENT_BLOCKS;
  return {
    logical,
    physical: physicalLow + physicalHigh * 2 ** 32,
    length: unwritten ? length - MAX_EXTENT_BLOCKS : length,
    unwritten,
  };
}

function verifyNode(node: Buffer, max: number, seed: number, inode: number): void {
  const tail = EXTENT_HEADER_SIZE + max * EXTENT_ENTRY_SIZE;
  if (tail + 4 > node.length || node.readUInt32LE(tail) !== crc32c(seed, node, 0, tail)) {
    throw corrupt(`the checksum of an extent block of inode ${inode} is wrong`);
  }
}

const DIRECT_BLOCKS = 12;

/** ext2's map: twelve blocks, then a block of pointers, one of pointers to those, and one more level. */
function* indirectMap(fs: Filesystem, inode: Ext4Inode, field: Buffer, budget: BlockBudget): Generator<MappedExtent> {
  const perBlock = fs.blockSize / 4;
  const end = Math.ceil(inode.size / fs.blockSize);
  let pending: { logical: number; physical: number; length: number } | undefined;
  let logical = 0;
  for (let slot = 0; slot < DIRECT_BLOCKS + 3 && logical < end; slot++) {
    yield* visit(field.readUInt32LE(slot * 4), Math.max(0, slot - DIRECT_BLOCKS + 1));
  }
  if (pending) yield { ...pending, unwritten: false };

  function* visit(pointer: number, level: number): Generator<MappedExtent> {
    if (pointer === 0) {
      logical += perBlock ** level;
      return;
    }
    if (level === 0) {
      if (pending && pending.logical + pending.length === logical && pending.physical + pending.length === pointer) {
        pending.length++;
      } else {
        if (pending) yield { ...pending, unwritten: false };
        pending = { logical, physical: pointer, length: 1 };
      }
      logical++;
      return;
    }
    budget.spend(1, inode.number);
    const pointers = Buffer.from(fs.device.block(pointer));
    for (let i = 0; i < perBlock && logical < end; i++) yield* visit(pointers.readUInt32LE(i * 4), level - 1);
  }
}

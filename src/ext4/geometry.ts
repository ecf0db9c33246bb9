/**
 * Which blocks belong to the filesystem's skeleton. Block size, group size and inode size are fixed; group descriptors lie in
 * meta block groups (META_BG), so that their places depend on nothing but the group's number: data can be written before
 * the filesystem's size is known, and the kernel can grow the filesystem online later.
 */

export const BLOCK_SIZE = 4096;
export const BLOCKS_PER_GROUP = 8 * BLOCK_SIZE;
export const INODE_SIZE = 256;
export const INODES_PER_BLOCK = BLOCK_SIZE / INODE_SIZE;
/** An inode bitmap is one block. */
export const MAX_INODES_PER_GROUP = 8 * BLOCK_SIZE;
export const DESCRIPTOR_SIZE = 64;
export const DESCRIPTORS_PER_BLOCK = BLOCK_SIZE / DESCRIPTOR_SIZE;

/** Whether a group starts with a copy of the superblock: 0, 1 and the powers of 3, 5 and 7 (SPARSE_SUPER). */
export function hasSuperblock(group: number): boolean {
  if (group <= 1) return true;
  if (group % 2 === 0) return false;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}

/** Whether a group holds a copy of its meta block group's descriptors: the first, second and last of each. */
export function hasDescriptors(group: number): boolean {
  const index = group % DESCRIPTORS_PER_BLOCK;
  return index <= 1 || index === DESCRIPTORS_PER_BLOCK - 1;
}

/** Blocks at the start of a group that nothing else may use. */
export function reservedBlocks(group: number): number {
  return Number(hasSuperblock(group)) + Number(hasDescriptors(group));
}

/** The first block at or after `block` that isn't reserved. */
export function skipReserved(block: number): number {
  const group = Math.floor(block / BLOCKS_PER_GROUP);
  return Math.max(block, group * BLOCKS_PER_GROUP + reservedBlocks(group));
}

/** Where the run of free blocks that starts at `block` meets the next reserved block. */
export function nextReserved(block: number): number {
  let group = Math.floor(block / BLOCKS_PER_GROUP) + 1;
  while (reservedBlocks(group) === 0) group++;
  return group * BLOCKS_PER_GROUP;
}

export const ceilDiv = (value: number, divisor: number): number => Math.ceil(value / divisor);
export const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;

/**
 * Where bitmaps and inode tables go, and how large the filesystem is. They follow the content in one stretch (FLEX_BG allows
 * any place), because only then are the counts known that they depend on.
 */
import type { BlockAllocator, Run } from "./allocator.js";
import {
  BLOCK_SIZE,
  BLOCKS_PER_GROUP,
  ceilDiv,
  INODES_PER_BLOCK,
  MAX_INODES_PER_GROUP,
  nextReserved,
  roundUp,
  skipReserved,
} from "./geometry.js";

/** One inode for so many bytes of free space, mke2fs's default. */
const BYTES_PER_INODE = 16384;
/** A last group shorter than this isn't worth having. */
const MIN_GROUP_BLOCKS = 64;

export interface SizeRequest {
  /** Highest inode number in use. */
  readonly inodes: number;
  /** Bytes of the whole filesystem, if the content fits. */
  readonly sizeBytes: number | undefined;
  /** Free bytes wanted beyond the content. */
  readonly headroomBytes: number;
}

export interface FilesystemPlan {
  readonly blocks: number;
  readonly groups: number;
  readonly inodesPerGroup: number;
  /** First blocks of the groups' bitmaps and tables. */
  readonly blockBitmaps: readonly number[];
  readonly inodeBitmaps: readonly number[];
  readonly inodeTables: readonly number[];
}

/** Takes the blocks for all bitmaps and inode tables from the allocator; nothing may be allocated after it. */
export function planFilesystem(allocator: BlockAllocator, request: SizeRequest): FilesystemPlan {
  const requested = request.sizeBytes === undefined ? 0 : wholeGroups(Math.floor(request.sizeBytes / BLOCK_SIZE));
  const headroom = ceilDiv(request.headroomBytes, BLOCK_SIZE);
  for (let groups = ceilDiv(Math.max(allocator.tail + headroom, requested), BLOCKS_PER_GROUP); ; groups++) {
    const spare = Math.max(requested - allocator.tail, headroom);
    const inodes = request.inodes + ceilDiv(Math.max(spare, 0) * BLOCK_SIZE, BYTES_PER_INODE);
    const perGroup = roundUp(ceilDiv(inodes, groups), INODES_PER_BLOCK);
    if (request.inodes > groups * MAX_INODES_PER_GROUP) continue;
    const inodesPerGroup = Math.min(perGroup, MAX_INODES_PER_GROUP);
    const layout = layOut(allocator.tail, groups, inodesPerGroup / INODES_PER_BLOCK);
    const blocks = wholeGroups(Math.max(layout.end + headroom, requested, minimumBlocks(groups)), layout.end);
    if (ceilDiv(blocks, BLOCKS_PER_GROUP) !== groups) continue;
    allocator.claimUpTo(layout.end, layout.gaps);
    return { blocks, groups, inodesPerGroup, ...layout };
  }
}

/** Blocks of a filesystem with exactly so many groups, at least. */
const minimumBlocks = (groups: number): number => (groups - 1) * BLOCKS_PER_GROUP + MIN_GROUP_BLOCKS;

/** A size without a stub of a last group: cut off if `needed` allows, else made long enough. */
function wholeGroups(blocks: number, needed = blocks): number {
  const stub = blocks % BLOCKS_PER_GROUP;
  if (stub === 0 || stub >= MIN_GROUP_BLOCKS) return blocks;
  return needed <= blocks - stub ? blocks - stub : blocks - stub + MIN_GROUP_BLOCKS;
}

interface Layout extends Pick<FilesystemPlan, "blockBitmaps" | "inodeBitmaps" | "inodeTables"> {
  readonly end: number;
  /** Skipped because a table has to be in one piece. */
  readonly gaps: readonly Run[];
}

function layOut(tail: number, groups: number, tableBlocks: number): Layout {
  let end = tail;
  const gaps: Run[] = [];
  const take = (length: number): number => {
    for (;;) {
      const start = skipReserved(end);
      const limit = nextReserved(start);
      if (start + length <= limit) {
        end = start + length;
        return start;
      }
      gaps.push({ start, length: limit - start });
      end = limit;
    }
  };
  const each = (length: number) => Array.from({ length: groups }, () => take(length));
  return { blockBitmaps: each(1), inodeBitmaps: each(1), inodeTables: each(tableBlocks), end, gaps };
}

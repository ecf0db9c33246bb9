/** The inode tables: what the columns of the inode store become on disk. Once for each inode, so it makes no garbage. */
import { encodeRootExtents } from "./extents.js";
import { BLOCK_SIZE, INODE_SIZE, INODES_PER_BLOCK } from "./geometry.js";
import {
  encodeDevice,
  encodeInode,
  fileMode,
  INLINE_XATTR_OFFSET,
  inodeFlags,
  inodeOffset,
  sealInode,
} from "./inode.js";
import type { Parts } from "./parts.js";
import type { FilesystemPlan } from "./plan.js";

/** The extent tree of an inode with more extents than fit into it. */
export interface ExtentTree {
  /** i_block. */
  readonly root: Buffer;
  /** How many blocks hold the rest. */
  readonly blocks: number;
}

type Trees = ReadonlyMap<number, ExtentTree>;

const MAX_DIRECTORY_LINKS = 64999;

/** Writes the tables as far as they are used; the rest stays a hole. */
export function writeInodeTables(parts: Parts, plan: FilesystemPlan, seed: number, trees: Trees): void {
  const { inodes, output } = parts;
  const block = Buffer.alloc(BLOCK_SIZE);
  for (let first = 1; first < inodes.end; first += INODES_PER_BLOCK) {
    block.fill(0);
    for (let slot = 0; slot < INODES_PER_BLOCK && first + slot < inodes.end; slot++) {
      if (inodes.mode[first + slot] !== 0) writeInode(parts, first + slot, seed, trees, block, slot * INODE_SIZE);
    }
    const group = Math.floor((first - 1) / plan.inodesPerGroup);
    const index = ((first - 1) % plan.inodesPerGroup) / INODES_PER_BLOCK;
    output.write((plan.inodeTables[group]! + index) * BLOCK_SIZE, block);
  }
}

/** Writes an inode into zeroed bytes at `at`. */
function writeInode(
  { inodes, xattrs }: Parts,
  inode: number,
  seed: number,
  trees: Trees,
  out: Buffer,
  at: number,
): void {
  const mode = inodes.mode[inode]!;
  const type = mode & fileMode.mask;
  const size = inodes.size[inode]!;
  const extents = inodes.extents(inode);
  const tree = trees.get(inode);
  const isDirectory = type === fileMode.directory;
  const hasExtents = type === fileMode.file || isDirectory || (type === fileMode.symlink && extents.length > 0);
  const xattrBlock = xattrs.takeBlock(inodes.xattrs[inode]!);
  const links = inodes.links[inode]!;
  let blocks = (xattrBlock === 0 ? 0 : 1) + (tree?.blocks ?? 0);
  if (hasExtents) for (const { length } of extents) blocks += length;
  encodeInode(
    {
      mode,
      uid: inodes.uid[inode]!,
      gid: inodes.gid[inode]!,
      size: hasExtents || type === fileMode.symlink ? size : 0,
      // DIR_NLINK: 1 stands for a directory with more subdirectories than can be counted.
      links: isDirectory && links > MAX_DIRECTORY_LINKS ? 1 : links,
      flags: (hasExtents ? inodeFlags.extents : 0) | (isDirectory && size > BLOCK_SIZE ? inodeFlags.index : 0),
      sectors: blocks * (BLOCK_SIZE / 512),
      seconds: inodes.seconds[inode]!,
      nanoseconds: inodes.nanoseconds[inode]!,
      xattrBlock,
    },
    out,
    at,
  );
  const field = at + inodeOffset.block;
  if (tree) out.set(tree.root, field);
  else if (hasExtents) encodeRootExtents(extents, out, field);
  else if (type === fileMode.symlink) out.set(inodes.targets.bytes(inodes.payload[inode]!, size), field);
  else if (type === fileMode.char || type === fileMode.block) {
    const device = inodes.payload[inode]!;
    encodeDevice(Math.floor(device / 2 ** 20), device % 2 ** 20, out, field);
  }
  const inline = xattrs.inline(inodes.xattrs[inode]!);
  if (inline) out.set(inline, at + INLINE_XATTR_OFFSET);
  sealInode(inode, seed, out, at, INODE_SIZE);
}

/** Extent trees: runs of blocks of a file. Kernel docs: ext4/ifork.rst ("Extent Tree"). */
import { crc32c } from "./crc32c.js";
import { BLOCK_SIZE } from "./geometry.js";
import { INLINE_SIZE } from "./inode.js";
import { struct, u16, u32 } from "./struct.js";

/** A longer length field means "allocated, but reads as zeros". */
export const MAX_EXTENT_BLOCKS = 32768;
export const EXTENT_MAGIC = 0xf30a;
export const EXTENT_HEADER_SIZE = 12;
export const EXTENT_ENTRY_SIZE = 12;

export const extentHeaderLayout = struct({
  magic: u16(0),
  entries: u16(2),
  max: u16(4),
  depth: u16(6),
  generation: u32(8),
});
/** `physicalHigh` is 16 bits. */
export const extentLayout = struct({ logical: u32(0), length: u16(4), physicalHigh: u16(6), physicalLow: u32(8) });
export const extentIndexLayout = struct({ logical: u32(0), childLow: u32(4), childHigh: u16(8), unused: u16(10) });

export interface Extent {
  /** First block within the file. */
  readonly logical: number;
  /** First block within the filesystem. */
  readonly physical: number;
  readonly length: number;
}

/** How many fit into the inode. */
export const ROOT_EXTENTS = (INLINE_SIZE - EXTENT_HEADER_SIZE) / EXTENT_ENTRY_SIZE;
/** The tail of an extent block is a 4-byte checksum. */
const BLOCK_ENTRIES = Math.floor((BLOCK_SIZE - EXTENT_HEADER_SIZE - 4) / EXTENT_ENTRY_SIZE);

export interface BlockSink {
  /** A fresh block's number. */
  allocate(): number;
  write(block: number, bytes: Uint8Array): void;
}

/** Writes i_block of an inode that has room for all of its extents into zeroed bytes at `at`. */
export function encodeRootExtents(extents: readonly Extent[], out: Buffer, at: number): void {
  encodeNode(out, at, ROOT_EXTENTS, 0, extents, encodeExtent);
}

/** Writes the blocks of the tree that more extents need, and gives the 60 bytes of i_block. `seed` is the inode's. */
export function encodeExtentTree(extents: readonly Extent[], seed: number, sink: BlockSink): Buffer {
  let depth = 0;
  let level = writeLevel(extents, depth, seed, sink, encodeExtent);
  while (level.length > ROOT_EXTENTS) level = writeLevel(level, ++depth, seed, sink, encodeIndex);
  const root = Buffer.alloc(INLINE_SIZE);
  encodeNode(root, 0, ROOT_EXTENTS, depth + 1, level, encodeIndex);
  return root;
}

interface IndexEntry {
  readonly logical: number;
  readonly child: number;
}

type EntryEncoder<T> = (entry: T, out: Buffer, at: number) => void;

// Written by hand, for every inode has such a node: laid out as in the tables above.
const encodeExtent: EntryEncoder<Extent> = ({ logical, physical, length }, out, at) => {
  out.writeUInt32LE(logical, at);
  out.writeUInt16LE(length, at + 4);
  out.writeUInt16LE(Math.floor(physical / 2 ** 32), at + 6);
  out.writeUInt32LE(physical % 2 ** 32, at + 8);
};

const encodeIndex: EntryEncoder<IndexEntry> = ({ logical, child }, out, at) => {
  out.writeUInt32LE(logical, at);
  out.writeUInt32LE(child % 2 ** 32, at + 4);
  out.writeUInt16LE(Math.floor(child / 2 ** 32), at + 8);
};

/** Writes a node into zeroed bytes at `at`. */
function encodeNode<T>(
  out: Buffer,
  at: number,
  max: number,
  depth: number,
  entries: readonly T[],
  encode: EntryEncoder<T>,
): void {
  out.writeUInt16LE(EXTENT_MAGIC, at);
  out.writeUInt16LE(entries.length, at + 2);
  out.writeUInt16LE(max, at + 4);
  out.writeUInt16LE(depth, at + 6);
  for (let i = 0; i < entries.length; i++) encode(entries[i]!, out, at + EXTENT_HEADER_SIZE + i * EXTENT_ENTRY_SIZE);
}

function writeLevel<T extends { readonly logical: number }>(
  entries: readonly T[],
  depth: number,
  seed: number,
  sink: BlockSink,
  encode: EntryEncoder<T>,
): IndexEntry[] {
  const parents: IndexEntry[] = [];
  for (let from = 0; from < entries.length; from += BLOCK_ENTRIES) {
    const node = Buffer.alloc(BLOCK_SIZE);
    encodeNode(node, 0, BLOCK_ENTRIES, depth, entries.slice(from, from + BLOCK_ENTRIES), encode);
    node.writeUInt32LE(crc32c(seed, node, 0, BLOCK_SIZE - 4), BLOCK_SIZE - 4);
    const child = sink.allocate();
    sink.write(child, node);
    parents.push({ logical: entries[from]!.logical, child });
  }
  return parents;
}

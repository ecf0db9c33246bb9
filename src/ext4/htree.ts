/**
 * Hashed directories: leaves of entries ordered by the hash of their names, under an index of up to three levels. Kernel
 * docs: ext4/directory.rst ("Hash Tree Directories"). To readers that know nothing of it every index block looks like
 * one unused entry.
 */
import { crc32c } from "./crc32c.js";
import {
  BLOCK_CAPACITY,
  type DirectoryEntry,
  direntSize,
  dotEntries,
  encodeDirectoryBlock,
  encodeDirent,
} from "./directory.js";
import { HALF_MD4, halfMd4 } from "./directory-hash.js";
import { BLOCK_SIZE, ceilDiv } from "./geometry.js";

/** Reserved word and checksum. */
export const INDEX_TAIL_SIZE = 8;
export const INDEX_ENTRY_SIZE = 8;
/** `.` and `..` (12 bytes each) and the 8 bytes of dx_root_info. */
export const ROOT_HEADER_SIZE = 32;
export const NODE_HEADER_SIZE = 8;
const ROOT_ENTRIES = (BLOCK_SIZE - ROOT_HEADER_SIZE - INDEX_TAIL_SIZE) / INDEX_ENTRY_SIZE;
const NODE_ENTRIES = (BLOCK_SIZE - NODE_HEADER_SIZE - INDEX_TAIL_SIZE) / INDEX_ENTRY_SIZE;
/** Without LARGEDIR the kernel follows one level below the root. */
const MAX_LEAVES = ROOT_ENTRIES * NODE_ENTRIES;

interface Hashed {
  readonly entry: DirectoryEntry;
  readonly hash: number;
}

interface IndexEntry {
  readonly hash: number;
  /** Block within the directory. */
  readonly block: number;
}

/** Blocks of a directory whose entries don't fit into one block; undefined when there are too many entries to index. */
export function encodeHashedDirectory(
  self: number,
  parent: number,
  entries: readonly DirectoryEntry[],
  hashSeed: Int32Array,
  seed: number,
): Buffer[] | undefined {
  const hashed = entries.map((entry) => ({ entry, hash: halfMd4(entry.name, hashSeed) }));
  hashed.sort((a, b) => a.hash - b.hash || Buffer.compare(a.entry.name, b.entry.name));
  const leaves = splitLeaves(hashed);
  if (leaves.length > MAX_LEAVES) return undefined;
  const nodes = leaves.length > ROOT_ENTRIES ? ceilDiv(leaves.length, NODE_ENTRIES) : 0;
  const leafIndex = leaves.map((leaf, i) => ({ hash: startHash(leaf, leaves[i - 1]), block: 1 + nodes + i }));
  const blocks: Buffer[] = [];
  if (nodes === 0) {
    blocks.push(encodeRoot(self, parent, 0, leafIndex, seed));
  } else {
    const nodeIndex = Array.from({ length: nodes }, (_, i) => ({
      hash: leafIndex[i * NODE_ENTRIES]!.hash,
      block: 1 + i,
    }));
    blocks.push(encodeRoot(self, parent, 1, nodeIndex, seed));
    for (let i = 0; i < nodes; i++) {
      blocks.push(encodeNode(leafIndex.slice(i * NODE_ENTRIES, (i + 1) * NODE_ENTRIES), seed));
    }
  }
  for (const leaf of leaves) {
    blocks.push(
      encodeDirectoryBlock(
        leaf.map(({ entry }) => entry),
        seed,
      ),
    );
  }
  return blocks;
}

/** Fills each leaf as far as it goes. */
function splitLeaves(hashed: readonly Hashed[]): Hashed[][] {
  const leaves: Hashed[][] = [];
  let leaf: Hashed[] = [];
  let size = 0;
  for (const item of hashed) {
    const needed = direntSize(item.entry.name.length);
    if (size + needed > BLOCK_CAPACITY) {
      leaves.push(leaf);
      leaf = [];
      size = 0;
    }
    leaf.push(item);
    size += needed;
  }
  leaves.push(leaf);
  return leaves;
}

/** The lowest bit tells that names of the same hash are in the leaf before, too. */
function startHash(leaf: readonly Hashed[], previous: readonly Hashed[] | undefined): number {
  const { hash } = leaf[0]!;
  return previous && previous.at(-1)!.hash === hash ? hash + 1 : hash;
}

function encodeRoot(self: number, parent: number, levels: number, index: readonly IndexEntry[], seed: number): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  const [dot, dotDot] = dotEntries(self, parent) as [DirectoryEntry, DirectoryEntry];
  encodeDirent(dot, 12, block, 0);
  encodeDirent(dotDot, BLOCK_SIZE - 12, block, 12);
  block[0x1c] = HALF_MD4;
  block[0x1d] = 8;
  block[0x1e] = levels;
  encodeIndex(block, ROOT_HEADER_SIZE, ROOT_ENTRIES, index, seed);
  return block;
}

function encodeNode(index: readonly IndexEntry[], seed: number): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  block.writeUInt16LE(BLOCK_SIZE, 4);
  encodeIndex(block, NODE_HEADER_SIZE, NODE_ENTRIES, index, seed);
  return block;
}

/** Entries start at `at`; the first one's hash is implied, limit and count take its place. */
function encodeIndex(block: Buffer, at: number, limit: number, index: readonly IndexEntry[], seed: number): void {
  for (const [i, { hash, block: target }] of index.entries()) {
    block.writeUInt32LE(hash, at + i * INDEX_ENTRY_SIZE);
    block.writeUInt32LE(target, at + i * INDEX_ENTRY_SIZE + 4);
  }
  block.writeUInt16LE(limit, at);
  block.writeUInt16LE(index.length, at + 2);
  const used = crc32c(seed, block, 0, at + index.length * INDEX_ENTRY_SIZE);
  // The tail's reserved word, then a checksum of zero.
  block.writeUInt32LE(crc32c(used, block, BLOCK_SIZE - INDEX_TAIL_SIZE, BLOCK_SIZE), BLOCK_SIZE - 4);
}

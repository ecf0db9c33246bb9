/** Directory blocks as the writer makes them. Kernel docs: ext4/directory.rst. */
import { crc32c } from "./crc32c.js";
import { BLOCK_SIZE } from "./geometry.js";

export const MAX_NAME_LENGTH = 255;
/** Header of a directory entry: inode u32, record length u16, name length u8, file type u8. */
export const DIRENT_HEADER_SIZE = 8;
/** The checksum at a block's end looks like an unused entry with a file type of its own. */
export const DIRENT_TAIL_SIZE = 12;
export const DIRENT_TAIL_TYPE = 0xde;

export interface DirectoryEntry {
  readonly inode: number;
  readonly type: number;
  readonly name: Uint8Array;
}

export const direntSize = (nameLength: number): number => (DIRENT_HEADER_SIZE + nameLength + 3) & ~3;

export function encodeDirent(entry: DirectoryEntry, recordLength: number, out: Buffer, at: number): void {
  out.writeUInt32LE(entry.inode, at);
  out.writeUInt16LE(recordLength, at + 4);
  out[at + 6] = entry.name.length;
  out[at + 7] = entry.type;
  out.set(entry.name, at + DIRENT_HEADER_SIZE);
}

/** Bytes of entries that fit into a block. */
export const BLOCK_CAPACITY = BLOCK_SIZE - DIRENT_TAIL_SIZE;

/** A block of entries with its checksum; `seed` is the directory inode's. The entries must fit. */
export function encodeDirectoryBlock(entries: readonly DirectoryEntry[], seed: number): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  let at = 0;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!;
    const recordLength = i === entries.length - 1 ? BLOCK_CAPACITY - at : direntSize(entry.name.length);
    encodeDirent(entry, recordLength, block, at);
    at += recordLength;
  }
  if (entries.length === 0) block.writeUInt16LE(BLOCK_CAPACITY, 4);
  block.writeUInt16LE(DIRENT_TAIL_SIZE, BLOCK_CAPACITY + 4);
  block[BLOCK_CAPACITY + 7] = DIRENT_TAIL_TYPE;
  block.writeUInt32LE(crc32c(seed, block, 0, BLOCK_CAPACITY), BLOCK_CAPACITY + 8);
  return block;
}

const dot = Buffer.of(0x2e);
const dotDot = Buffer.of(0x2e, 0x2e);
const DIRECTORY = 2;

export const dotEntries = (self: number, parent: number): DirectoryEntry[] => [
  { inode: self, type: DIRECTORY, name: dot },
  { inode: parent, type: DIRECTORY, name: dotDot },
];

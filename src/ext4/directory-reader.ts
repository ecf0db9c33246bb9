/** Names in a directory. Indexed ones are read like plain ones: their index blocks look like unused entries. */
import type { ByteString } from "../support/brands.js";
import { BlockBudget } from "./block-map.js";
import { crc32c } from "./crc32c.js";
import { DIRENT_HEADER_SIZE, DIRENT_TAIL_SIZE, DIRENT_TAIL_TYPE } from "./directory.js";
import { corrupt, unsupported } from "./failures.js";
import { inlineContent, pieces } from "./file-reader.js";
import type { Filesystem } from "./filesystem.js";
import { INDEX_ENTRY_SIZE, INDEX_TAIL_SIZE, NODE_HEADER_SIZE, ROOT_HEADER_SIZE } from "./htree.js";
import { INLINE_SIZE, type InodeType, inodeFlags, inodeSeed } from "./inode.js";
import type { Ext4Inode } from "./inode-reader.js";
import { incompat } from "./superblock.js";

export interface Ext4Dirent {
  readonly name: ByteString;
  /** Inode number. */
  readonly inode: number;
  /** As the directory says; undefined where it doesn't. */
  readonly type: InodeType | undefined;
}

const types: readonly (InodeType | undefined)[] = [
  undefined,
  "file",
  "directory",
  "char",
  "block",
  "fifo",
  "socket",
  "symlink",
];
const PARENT_SIZE = 4;

/** All entries but `.` and `..`, as they are stored. */
export function* readDirectory(fs: Filesystem, inode: Ext4Inode, budget = new BlockBudget(fs)): Generator<Ext4Dirent> {
  if (inode.type !== "directory") throw corrupt(`inode ${inode.number} is not a directory`);
  if (inode.flags & inodeFlags.encrypt) throw unsupported("encrypted directories");
  const inline = inlineContent(fs, inode);
  if (inline) {
    // The parent's number stands for `.` and `..`; what doesn't fit into i_block is a list of its own.
    const split = Math.min(INLINE_SIZE, inline.length);
    yield* parseEntries(fs, inode, inline.subarray(PARENT_SIZE, split), undefined);
    yield* parseEntries(fs, inode, inline.subarray(split), undefined);
    return;
  }
  const seed = fs.checksumSeed === undefined ? undefined : inodeSeed(fs.checksumSeed, inode.number, inode.generation);
  if (inode.size % fs.blockSize !== 0) throw corrupt(`directory ${inode.number} doesn't consist of whole blocks`);
  const buffer = Buffer.allocUnsafeSlow(Math.max(fs.blockSize, 16384));
  for (const piece of pieces(fs, inode, buffer, budget)) {
    if ("hole" in piece) continue;
    for (let at = 0; at < piece.data.length; at += fs.blockSize) {
      yield* parseEntries(fs, inode, piece.data.subarray(at, at + fs.blockSize), seed);
    }
  }
}

function* parseEntries(
  fs: Filesystem,
  inode: Ext4Inode,
  area: Buffer,
  seed: number | undefined,
): Generator<Ext4Dirent> {
  const invalid = () => corrupt(`an entry of directory ${inode.number} is invalid`);
  if (seed !== undefined && !hasValidChecksum(area, seed)) {
    throw corrupt(`the checksum of a block of directory ${inode.number} is wrong`);
  }
  const hasTypes = fs.hasIncompat(incompat.filetype);
  for (let at = 0; at < area.length; ) {
    if (at + DIRENT_HEADER_SIZE > area.length) throw invalid();
    const number = area.readUInt32LE(at);
    const recordLength = decodeRecordLength(area.readUInt16LE(at + 4), fs.blockSize);
    const nameLength = area[at + 6]!;
    const end = at + recordLength;
    if (recordLength < DIRENT_HEADER_SIZE || recordLength % 4 !== 0 || end > area.length) throw invalid();
    if (number !== 0) {
      if (nameLength === 0 || DIRENT_HEADER_SIZE + nameLength > recordLength || number > fs.superblock.inodesCount)
        throw invalid();
      const name = area.toString("latin1", at + DIRENT_HEADER_SIZE, at + DIRENT_HEADER_SIZE + nameLength) as ByteString;
      if (name.includes("/") || name.includes("\0")) throw invalid();
      if (name !== "." && name !== "..")
        yield { name, inode: number, type: hasTypes ? types[area[at + 7]!] : undefined };
    }
    at = end;
  }
}

/** An index block counts its entries only; what is behind them may be left from when it was a block of names. */
function hasValidChecksum(block: Buffer, seed: number): boolean {
  const index = indexStart(block);
  const end = block.length - DIRENT_TAIL_SIZE;
  if (index === undefined) {
    const hasTail = block.readUInt32LE(end) === 0 && block.readUInt16LE(end + 4) === DIRENT_TAIL_SIZE;
    return (
      hasTail && block[end + 7] === DIRENT_TAIL_TYPE && block.readUInt32LE(end + 8) === crc32c(seed, block, 0, end)
    );
  }
  const limit = block.readUInt16LE(index);
  const count = block.readUInt16LE(index + 2);
  const tail = index + limit * INDEX_ENTRY_SIZE;
  if (count > limit || tail + INDEX_TAIL_SIZE > block.length) return false;
  const copy = Buffer.from(block.subarray(tail, tail + INDEX_TAIL_SIZE));
  const stored = copy.readUInt32LE(4);
  copy.writeUInt32LE(0, 4);
  return crc32c(crc32c(seed, block, 0, index + count * INDEX_ENTRY_SIZE), copy) === stored;
}

/** Where the index of an index block starts; undefined in a block of names. */
function indexStart(block: Buffer): number | undefined {
  const size = block.length & 0xffff;
  const first = block.readUInt16LE(4);
  if (first === size) return NODE_HEADER_SIZE;
  const isRoot =
    first === 12 && block.readUInt16LE(16) === size - 12 && block.readUInt32LE(0x18) === 0 && block[0x1d] === 8;
  return isRoot ? ROOT_HEADER_SIZE : undefined;
}

/** 16 bits don't hold 65536. */
function decodeRecordLength(stored: number, blockSize: number): number {
  if (blockSize < 65536) return stored;
  return stored === 0 || stored === 65535 ? 65536 : (stored & 65532) | ((stored & 3) << 16);
}

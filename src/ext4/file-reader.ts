/** Content of files: data and holes. */
import { BlockBudget, mappedExtents } from "./block-map.js";
import { corrupt, unsupported } from "./failures.js";
import type { Filesystem } from "./filesystem.js";
import { INLINE_SIZE, inodeFlags, inodeOffset } from "./inode.js";
import type { Ext4Inode } from "./inode-reader.js";
import { INLINE_DATA_INDEX, INLINE_DATA_NAME } from "./xattr.js";
import { rawXattrs } from "./xattr-reader.js";

export interface Segment {
  /** Byte within the file. */
  readonly offset: number;
  readonly length: number;
  /** False where the file reads as zeros without having blocks for it. */
  readonly data: boolean;
}

interface PlacedSegment extends Segment {
  readonly physical: number;
}

/** The content of a file that lies in its inode; undefined if it has blocks. */
export function inlineContent(fs: Filesystem, inode: Ext4Inode): Buffer | undefined {
  if (!(inode.flags & inodeFlags.inlineData)) return undefined;
  const parts = [inode.raw.subarray(inodeOffset.block, inodeOffset.block + INLINE_SIZE)];
  for (const { index, name, value } of rawXattrs(fs, inode)) {
    if (index === INLINE_DATA_INDEX && name.toString("latin1") === INLINE_DATA_NAME) parts.push(value);
  }
  const content = Buffer.concat(parts);
  if (inode.size > content.length) throw corrupt(`inode ${inode.number} is larger than its inline data`);
  return content.subarray(0, inode.size);
}

/** The segments of a file with blocks, together exactly its size. */
function* placedSegments(fs: Filesystem, inode: Ext4Inode, budget: BlockBudget): Generator<PlacedSegment> {
  if (inode.flags & inodeFlags.encrypt) throw unsupported("encrypted files");
  let end = 0;
  for (const { logical, physical, length, unwritten } of mappedExtents(fs, inode, budget)) {
    const offset = logical * fs.blockSize;
    if (offset >= inode.size) break;
    if (unwritten) continue;
    if (offset > end) yield { offset: end, length: offset - end, data: false, physical: 0 };
    end = Math.min(offset + length * fs.blockSize, inode.size);
    yield { offset, length: end - offset, data: true, physical };
  }
  if (end < inode.size) yield { offset: end, length: inode.size - end, data: false, physical: 0 };
}

/** Data and holes of a file, neighbours of a kind joined. */
export function* segments(fs: Filesystem, inode: Ext4Inode, budget = new BlockBudget(fs)): Generator<Segment> {
  if (inode.flags & inodeFlags.inlineData) {
    if (inode.size > 0) yield { offset: 0, length: inode.size, data: true };
    return;
  }
  let last: { offset: number; length: number; data: boolean } | undefined;
  for (const { offset, length, data } of placedSegments(fs, inode, budget)) {
    if (last && last.data === data) last.length += length;
    else {
      if (last) yield last;
      last = { offset, length, data };
    }
  }
  if (last) yield last;
}

/** What a visitor of content gets: bytes, borrowed for the moment, or the length of a hole. */
export type Piece = { readonly data: Buffer } | { readonly hole: number };

/** The whole content in order, in pieces that fit into `buffer`, whose length must be a multiple of the block size. */
export function* pieces(
  fs: Filesystem,
  inode: Ext4Inode,
  buffer: Buffer,
  budget = new BlockBudget(fs),
): Generator<Piece> {
  const inline = inlineContent(fs, inode);
  if (inline) {
    if (inline.length > 0) yield { data: inline };
    return;
  }
  for (const segment of placedSegments(fs, inode, budget)) {
    if (!segment.data) {
      yield { hole: segment.length };
      continue;
    }
    for (let done = 0; done < segment.length; done += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, segment.length - done));
      fs.device.read(part, segment.physical + done / fs.blockSize);
      yield { data: part };
    }
  }
}

/** Bytes `[offset, offset + length)` of a file, fewer at its end. */
export function readRange(fs: Filesystem, inode: Ext4Inode, offset: number, length: number): Buffer {
  const end = Math.min(inode.size, offset + length);
  if (offset >= end) return Buffer.alloc(0);
  const inline = inlineContent(fs, inode);
  if (inline) return Buffer.from(inline.subarray(offset, end));
  const out = Buffer.alloc(end - offset);
  for (const segment of placedSegments(fs, inode, new BlockBudget(fs))) {
    const from = Math.max(segment.offset, offset);
    const to = Math.min(segment.offset + segment.length, end);
    if (segment.offset >= end) break;
    if (!segment.data || from >= to) continue;
    const firstBlock = Math.floor((from - segment.offset) / fs.blockSize);
    const skip = from - segment.offset - firstBlock * fs.blockSize;
    const target = out.subarray(from - offset, to - offset);
    if (skip === 0) {
      fs.device.read(target, segment.physical + firstBlock);
    } else {
      const whole = Buffer.alloc(skip + target.length);
      fs.device.read(whole, segment.physical + firstBlock);
      whole.copy(target, 0, skip);
    }
  }
  return out;
}

/** A symlink's target. */
export function symlinkTarget(fs: Filesystem, inode: Ext4Inode): Buffer {
  if (inode.flags & inodeFlags.encrypt) throw unsupported("encrypted symlinks");
  if (inode.size === 0 || inode.size > fs.blockSize)
    throw corrupt(`symlink ${inode.number} has a target of ${inode.size} bytes`);
  const isFast = !(inode.flags & (inodeFlags.extents | inodeFlags.inlineData)) && inode.size < INLINE_SIZE;
  const target = isFast
    ? Buffer.from(inode.raw.subarray(inodeOffset.block, inodeOffset.block + inode.size))
    : readRange(fs, inode, 0, inode.size);
  if (target.includes(0)) throw corrupt(`the target of symlink ${inode.number} has a zero byte`);
  return target;
}

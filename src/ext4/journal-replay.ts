/**
 * What a journal would write if it were replayed, as a map that lies over the image. Follows jbd2's recovery: find the end of
 * the log, collect revocations, then take the blocks of the committed transactions. Kernel docs: ext4/journal.rst.
 */
import type { JournaledBlock } from "./block-device.js";
import { mappedExtents } from "./block-map.js";
import { crc32c } from "./crc32c.js";
import { corrupt, unsupported } from "./failures.js";
import type { Filesystem } from "./filesystem.js";
import { JOURNAL_INODE } from "./inode.js";
import {
  CRC32C_CHECKSUM,
  JOURNAL_MAGIC,
  journalBlockType,
  journalFeature,
  journalHeaderLayout,
  journalSuperblockChecksum,
  journalSuperblockLayout,
} from "./jbd2.js";

const HEADER_SIZE = 12;
const REVOKE_HEADER_SIZE = 16;
const UUID_SIZE = 16;
const CHECKSUM_SIZE = 4;
const COMMIT_CHECKSUM = 0x10;
const COMMIT_SECONDS = 0x30;
const tagFlags = { escaped: 1, sameUuid: 2, last: 8 } as const;

/** Transaction numbers wrap around. */
const isBefore = (a: number, b: number): boolean => ((a - b) | 0) < 0;

interface Journal {
  readonly fs: Filesystem;
  /** Block of the filesystem for each block of the journal. */
  readonly blocks: Uint32Array | Float64Array;
  readonly first: number;
  readonly length: number;
  readonly start: number;
  readonly sequence: number;
  readonly has64Bit: boolean;
  /** 2 or 3: every block of the log carries a checksum. 0: none does. */
  readonly checksums: 0 | 2 | 3;
  readonly seed: number;
}

interface Tag {
  readonly block: number;
  readonly flags: number;
  readonly checksum: number;
}

/** Blocks that committed transactions of the journal hold, by block of the filesystem. */
export function replayJournal(fs: Filesystem): Map<number, JournaledBlock> {
  const journal = openJournal(fs);
  const replayed = new Map<number, JournaledBlock>();
  if (journal.start === 0) return replayed;
  const end = scan(journal);
  const revoked = new Map<number, number>();
  for (const { type, block, sequence } of transactions(journal, end)) {
    if (type === journalBlockType.revoke) collectRevoked(journal, block, sequence, revoked);
  }
  for (const { type, block, sequence, at } of transactions(journal, end)) {
    if (type === journalBlockType.descriptor) takeBlocks(journal, block, sequence, at, revoked, replayed);
  }
  return replayed;
}

function openJournal(fs: Filesystem): Journal {
  if (fs.superblock.journalInode !== JOURNAL_INODE) throw unsupported("an external journal that has to be replayed");
  const inode = fs.inode(JOURNAL_INODE);
  const count = Math.floor(inode.size / fs.blockSize);
  if (inode.type !== "file" || count > fs.blocks) throw corrupt("the journal's inode is invalid");
  const blocks = new Float64Array(count);
  let mapped = 0;
  for (const { logical, physical, length, unwritten } of mappedExtents(fs, inode)) {
    for (let i = 0; i < length && logical + i < count; i++, mapped++) blocks[logical + i] = physical + i;
    if (unwritten) throw corrupt("the journal has unwritten blocks");
  }
  if (mapped < count || count === 0) throw corrupt("the journal has holes");
  const raw = Buffer.from(fs.device.block(blocks[0]!));
  const s = journalSuperblockLayout.decode(raw);
  const isVersion2 = s.type === journalBlockType.superblockV2;
  if (s.magic !== JOURNAL_MAGIC || !(isVersion2 || s.type === journalBlockType.superblockV1))
    throw corrupt("the journal has no superblock");
  const features = isVersion2 ? s.featureIncompat : 0;
  if (features & journalFeature.fastCommit) throw unsupported("a journal with fast commits that has to be replayed");
  if (features & ~knownFeatures) throw unsupported(`journal features 0x${features.toString(16)}`);
  const checksums = features & journalFeature.checksumV3 ? 3 : features & journalFeature.checksumV2 ? 2 : 0;
  if (s.blockSize !== fs.blockSize || s.length > count || s.first < 1 || s.first >= s.length || s.start >= s.length) {
    throw corrupt("the journal's superblock is invalid");
  }
  if (s.start !== 0 && s.start < s.first) throw corrupt("the journal starts before its log");
  if (checksums !== 0 && (s.checksumType !== CRC32C_CHECKSUM || s.checksum !== journalSuperblockChecksum(raw))) {
    throw corrupt("the checksum of the journal's superblock is wrong");
  }
  return {
    fs,
    blocks,
    first: s.first,
    length: s.length,
    start: s.start,
    sequence: s.sequence,
    has64Bit: (features & journalFeature.sixtyFourBit) !== 0,
    checksums,
    seed: crc32c(0xffffffff, s.uuid),
  };
}

const knownFeatures =
  journalFeature.revoke |
  journalFeature.sixtyFourBit |
  journalFeature.asyncCommit |
  journalFeature.checksumV2 |
  journalFeature.checksumV3;

interface LogBlock {
  readonly type: number;
  readonly block: Buffer;
  readonly sequence: number;
  /** Block of the journal. */
  readonly at: number;
}

/**
 * The log's own blocks in order, up to the first that can't belong to it. The log is a ring: nothing is visited twice, whatever
 * the tags say.
 */
function* logBlocks(journal: Journal): Generator<LogBlock> {
  let at = journal.start;
  let sequence = journal.sequence;
  let left = journal.length - journal.first;
  while (left > 0) {
    const block = Buffer.from(journal.fs.device.block(journal.blocks[at]!));
    const header = journalHeaderLayout.decode(block);
    if (header.magic !== JOURNAL_MAGIC || header.sequence !== sequence) return;
    yield { type: header.type, block, sequence, at };
    let advance = 1;
    if (header.type === journalBlockType.descriptor) advance += [...tags(journal, block)].length;
    else if (header.type === journalBlockType.commit) sequence = (sequence + 1) >>> 0;
    else if (header.type !== journalBlockType.revoke) return;
    at = step(journal, at, advance);
    left -= advance;
  }
}

/** Blocks of the transactions before `end`. */
function* transactions(journal: Journal, end: number): Generator<LogBlock> {
  for (const item of logBlocks(journal)) {
    if (!isBefore(item.sequence, end)) return;
    yield item;
  }
}

const step = (journal: Journal, at: number, count: number): number =>
  journal.first + ((at - journal.first + count) % (journal.length - journal.first));

/** The first transaction that was not committed whole. */
function scan(journal: Journal): number {
  let end = journal.sequence;
  let lastCommit = 0;
  let isDoubtful = false;
  for (const { type, block, sequence } of logBlocks(journal)) {
    if (type !== journalBlockType.commit) {
      // Blocks of an earlier turn of the ring look like this; what tells them from damage is their commit's time.
      if (journal.checksums !== 0 && !hasValidTail(journal, block)) isDoubtful = true;
      continue;
    }
    const seconds = block.readUInt32BE(COMMIT_SECONDS) * 2 ** 32 + block.readUInt32BE(COMMIT_SECONDS + 4);
    if (isDoubtful && seconds >= lastCommit)
      throw corrupt(`transaction ${sequence} of the journal has a wrong checksum`);
    if (isDoubtful || (journal.checksums !== 0 && !hasValidCommit(journal, block))) return end;
    lastCommit = seconds;
    end = (sequence + 1) >>> 0;
  }
  return end;
}

function hasValidTail(journal: Journal, block: Buffer): boolean {
  const stored = block.readUInt32BE(block.length - CHECKSUM_SIZE);
  const copy = Buffer.from(block);
  copy.writeUInt32BE(0, block.length - CHECKSUM_SIZE);
  return crc32c(journal.seed, copy) === stored;
}

function hasValidCommit(journal: Journal, block: Buffer): boolean {
  const copy = Buffer.from(block);
  copy.writeUInt32BE(0, COMMIT_CHECKSUM);
  return crc32c(journal.seed, copy) === block.readUInt32BE(COMMIT_CHECKSUM);
}

/** Where the data blocks after a descriptor belong. */
function* tags(journal: Journal, block: Buffer): Generator<Tag> {
  const size = tagSize(journal);
  const end = block.length - (journal.checksums === 0 ? 0 : CHECKSUM_SIZE);
  for (let at = HEADER_SIZE; at + size <= end; ) {
    const low = block.readUInt32BE(at);
    const isV3 = journal.checksums === 3;
    const flags = isV3 ? block.readUInt32BE(at + 4) : block.readUInt16BE(at + 6);
    const high = journal.has64Bit ? block.readUInt32BE(at + 8) : 0;
    const checksum = isV3 ? block.readUInt32BE(at + 12) : block.readUInt16BE(at + 4);
    yield { block: low + high * 2 ** 32, flags, checksum };
    if (flags & tagFlags.last) return;
    at += size + (flags & tagFlags.sameUuid ? 0 : UUID_SIZE);
  }
}

/** Version 2 has two bytes more than its fields need. */
function tagSize({ checksums, has64Bit }: Journal): number {
  if (checksums === 3) return 16;
  return 8 + (has64Bit ? 4 : 0) + (checksums === 2 ? 2 : 0);
}

function collectRevoked(journal: Journal, block: Buffer, sequence: number, revoked: Map<number, number>): void {
  const end = block.readUInt32BE(HEADER_SIZE);
  if (end > block.length - (journal.checksums === 0 ? 0 : CHECKSUM_SIZE))
    throw corrupt("a revocation in the journal is too long");
  const size = journal.has64Bit ? 8 : 4;
  for (let at = REVOKE_HEADER_SIZE; at + size <= end; at += size) {
    const number = journal.has64Bit
      ? block.readUInt32BE(at) * 2 ** 32 + block.readUInt32BE(at + 4)
      : block.readUInt32BE(at);
    const known = revoked.get(number);
    if (known === undefined || isBefore(known, sequence)) revoked.set(number, sequence);
  }
}

function takeBlocks(
  journal: Journal,
  descriptor: Buffer,
  sequence: number,
  at: number,
  revoked: ReadonlyMap<number, number>,
  replayed: Map<number, JournaledBlock>,
): void {
  let source = at;
  for (const tag of tags(journal, descriptor)) {
    source = step(journal, source, 1);
    const revocation = revoked.get(tag.block);
    if (revocation !== undefined && !isBefore(revocation, sequence)) continue;
    if (tag.block >= journal.fs.blocks) throw corrupt(`the journal holds block ${tag.block}, which does not exist`);
    const block = journal.blocks[source]!;
    if (journal.checksums !== 0 && !hasValidData(journal, block, sequence, tag)) {
      throw corrupt(`the checksum of block ${tag.block} in the journal is wrong`);
    }
    replayed.set(tag.block, { block, escaped: (tag.flags & tagFlags.escaped) !== 0 });
  }
}

function hasValidData(journal: Journal, block: number, sequence: number, tag: Tag): boolean {
  const number = Buffer.alloc(4);
  number.writeUInt32BE(sequence);
  const checksum = crc32c(crc32c(journal.seed, number), journal.fs.device.block(block));
  return tag.checksum === (journal.checksums === 3 ? checksum : checksum & 0xffff);
}

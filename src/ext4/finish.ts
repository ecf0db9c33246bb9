/** From the tree in memory to a complete filesystem: directories, journal, inode tables, bitmaps, descriptors, superblocks. */
import { ftruncateSync } from "node:fs";
import { AegisError } from "../support/errors.js";
import type { BlockAllocator } from "./allocator.js";
import { BLOCK_CAPACITY, type DirectoryEntry, direntSize, dotEntries, encodeDirectoryBlock } from "./directory.js";
import { hashSeedWords } from "./directory-hash.js";
import { type BlockSink, encodeExtentTree } from "./extents.js";
import { BLOCK_SIZE, INODE_SIZE, INODES_PER_BLOCK } from "./geometry.js";
import { writeGroups } from "./groups.js";
import { encodeHashedDirectory } from "./htree.js";
import {
  direntType,
  encodeDevice,
  encodeInode,
  fileMode,
  INLINE_SIZE,
  INLINE_XATTR_OFFSET,
  inodeFlags,
  inodeOffset,
  inodeSeed,
  JOURNAL_INODE,
  sealInode,
} from "./inode.js";
import type { InodeStore } from "./inode-store.js";
import { encodeJournalSuperblock } from "./jbd2.js";
import type { Namespace } from "./namespace.js";
import type { Output } from "./output.js";
import { type FilesystemPlan, planFilesystem, type SizeRequest } from "./plan.js";
import { checksumSeed } from "./superblock.js";
import type { XattrStore } from "./xattr-store.js";

export interface Identity {
  readonly uuid: Uint8Array;
  readonly hashSeed: Uint8Array;
  readonly label: string;
  readonly timestamp: number;
}

export interface Parts {
  readonly names: Namespace;
  readonly inodes: InodeStore;
  readonly blocks: BlockAllocator;
  readonly output: Output;
  readonly xattrs: XattrStore;
}

export class Finisher {
  readonly #seed: number;
  readonly #sink: BlockSink;
  /** i_block and number of tree blocks of inodes with more extents than fit into the inode. */
  readonly #roots = new Map<number, { root: Buffer; blocks: number }>();

  constructor(
    readonly parts: Parts,
    readonly identity: Identity,
  ) {
    this.#seed = checksumSeed(identity.uuid);
    this.#sink = {
      allocate: () => parts.blocks.fresh(1).start,
      write: (block, bytes) => parts.output.write(block * BLOCK_SIZE, bytes),
    };
  }

  /** Writes everything but content. Returns the filesystem's size in bytes. */
  finish(request: Omit<SizeRequest, "inodes">, journalBlocks: number): FilesystemPlan {
    const { blocks, inodes, output, xattrs } = this.parts;
    for (let inode = 0; inode < inodes.end; inode++) {
      if ((inodes.mode[inode]! & fileMode.mask) === fileMode.directory) this.#writeDirectory(inode);
    }
    if (journalBlocks > 0) this.#writeJournal(journalBlocks);
    for (let inode = 0; inode < inodes.end; inode++) {
      if (inodes.mode[inode] !== 0 && inodes.extentCount[inode]! > 4) this.#writeExtentTree(inode);
    }
    xattrs.place(inodes, this.#seed, this.#sink);
    const plan = planFilesystem(blocks, { ...request, inodes: inodes.end - 1 });
    this.#writeInodes(plan);
    writeGroups(this.parts, plan, this.identity, this.#seed, this.#journalBackup(journalBlocks));
    ftruncateSync(output.fd, Math.max(plan.blocks * BLOCK_SIZE, request.sizeBytes ?? 0));
    return plan;
  }

  #writeDirectory(inode: number): void {
    const { names, inodes } = this.parts;
    const parent = inodes.payload[inode]!;
    const entries: DirectoryEntry[] = [];
    let size = 0;
    for (let entry = names.firstEntry(inode); entry !== 0; entry = names.next[entry]!) {
      const target = names.inode[entry]!;
      const name = names.nameBytes(entry);
      entries.push({ inode: target, type: direntType(inodes.mode[target]!), name });
      size += direntSize(name.length);
    }
    const dots = dotEntries(inode, parent);
    const seed = inodeSeed(this.#seed, inode);
    const encoded =
      size + 24 <= BLOCK_CAPACITY
        ? [encodeDirectoryBlock([...dots, ...entries], seed)]
        : encodeHashedDirectory(inode, parent, entries, hashSeedWords(this.identity.hashSeed), seed);
    if (!encoded) {
      throw new AegisError(
        "EXT4_DIRECTORY_TOO_LARGE",
        `a directory with ${entries.length} entries is more than ext4 can index`,
      );
    }
    inodes.size[inode] = encoded.length * BLOCK_SIZE;
    this.#allocate(inode, encoded.length, (block, index) => this.#sink.write(block, encoded[index]!));
  }

  /** Gives an inode fresh blocks for its whole length. */
  #allocate(inode: number, count: number, write?: (block: number, index: number) => void): void {
    const { blocks, inodes } = this.parts;
    const first = inodes.nextExtent;
    for (let done = 0; done < count; ) {
      const run = blocks.fresh(count - done);
      inodes.addExtents(done, run.start, run.length, first);
      for (let i = 0; write && i < run.length; i++) write(run.start + i, done + i);
      done += run.length;
    }
    inodes.extentsAt[inode] = first;
    inodes.extentCount[inode] = inodes.nextExtent - first;
  }

  /** An empty journal: its superblock, then blocks that stay holes of the image file. */
  #writeJournal(count: number): void {
    const { inodes, output } = this.parts;
    this.#allocate(JOURNAL_INODE, count);
    inodes.mode[JOURNAL_INODE] = fileMode.file | 0o600;
    inodes.links[JOURNAL_INODE] = 1;
    inodes.size[JOURNAL_INODE] = count * BLOCK_SIZE;
    inodes.seconds[JOURNAL_INODE] = this.identity.timestamp;
    const start = inodes.extents(JOURNAL_INODE)[0]!.physical * BLOCK_SIZE;
    output.write(start, encodeJournalSuperblock(this.identity.uuid, count, BLOCK_SIZE));
  }

  /** What the superblock keeps of the journal inode, should that be lost: i_block and size. */
  #journalBackup(journalBlocks: number): Uint8Array | undefined {
    if (journalBlocks === 0) return undefined;
    const out = Buffer.alloc(68);
    this.#blockField(JOURNAL_INODE).copy(out);
    const size = journalBlocks * BLOCK_SIZE;
    out.writeUInt32LE(Math.floor(size / 2 ** 32), INLINE_SIZE);
    out.writeUInt32LE(size % 2 ** 32, INLINE_SIZE + 4);
    return out;
  }

  #writeExtentTree(inode: number): void {
    let blocks = 0;
    const counting: BlockSink = {
      allocate: () => {
        blocks++;
        return this.#sink.allocate();
      },
      write: this.#sink.write,
    };
    const root = encodeExtentTree(this.parts.inodes.extents(inode), inodeSeed(this.#seed, inode), counting);
    this.#roots.set(inode, { root, blocks });
  }

  /** Writes the inode tables as far as they are used; the rest stays a hole. */
  #writeInodes(plan: FilesystemPlan): void {
    const { inodes, output } = this.parts;
    const block = Buffer.alloc(BLOCK_SIZE);
    for (let first = 1; first < inodes.end; first += INODES_PER_BLOCK) {
      block.fill(0);
      for (let slot = 0; slot < INODES_PER_BLOCK && first + slot < inodes.end; slot++) {
        if (inodes.mode[first + slot] !== 0) this.#encodeInode(first + slot, block, slot * INODE_SIZE);
      }
      const group = Math.floor((first - 1) / plan.inodesPerGroup);
      const index = ((first - 1) % plan.inodesPerGroup) / INODES_PER_BLOCK;
      output.write((plan.inodeTables[group]! + index) * BLOCK_SIZE, block);
    }
  }

  #encodeInode(inode: number, out: Buffer, at: number): void {
    const { inodes, xattrs } = this.parts;
    const mode = inodes.mode[inode]!;
    const type = mode & fileMode.mask;
    const hasExtents = this.#hasExtents(inode, type);
    const size = inodes.size[inode]!;
    const isIndexed = type === fileMode.directory && size > BLOCK_SIZE;
    const xattrBlock = xattrs.takeBlock(inodes.xattrs[inode]!);
    const links = inodes.links[inode]!;
    encodeInode(
      {
        mode,
        uid: inodes.uid[inode]!,
        gid: inodes.gid[inode]!,
        size: type === fileMode.file || type === fileMode.directory || type === fileMode.symlink ? size : 0,
        // DIR_NLINK: 1 stands for a directory with more subdirectories than can be counted.
        links: type === fileMode.directory && links > MAX_DIRECTORY_LINKS ? 1 : links,
        flags: (hasExtents ? inodeFlags.extents : 0) | (isIndexed ? inodeFlags.index : 0),
        sectors: this.#sectors(inode, hasExtents, xattrBlock),
        seconds: inodes.seconds[inode]!,
        nanoseconds: inodes.nanoseconds[inode]!,
        xattrBlock,
      },
      out,
      at,
    );
    if (hasExtents) this.#blockField(inode).copy(out, at + inodeOffset.block);
    else if (type === fileMode.symlink)
      inodes.targets.bytes(inodes.payload[inode]!, size).copy(out, at + inodeOffset.block);
    else if (type === fileMode.char || type === fileMode.block) {
      const device = inodes.payload[inode]!;
      encodeDevice(Math.floor(device / 2 ** 20), device % 2 ** 20, out, at + inodeOffset.block);
    }
    xattrs.inline(inodes.xattrs[inode]!)?.copy(out, at + INLINE_XATTR_OFFSET);
    sealInode(inode, this.#seed, out, at, INODE_SIZE);
  }

  #hasExtents(inode: number, type: number): boolean {
    if (type === fileMode.symlink) return this.parts.inodes.extentCount[inode]! > 0;
    return type === fileMode.file || type === fileMode.directory;
  }

  #sectors(inode: number, hasExtents: boolean, xattrBlock: number): number {
    let blocks = xattrBlock === 0 ? 0 : 1;
    if (hasExtents) {
      for (const { length } of this.parts.inodes.extents(inode)) blocks += length;
      blocks += this.#roots.get(inode)?.blocks ?? 0;
    }
    return blocks * (BLOCK_SIZE / 512);
  }

  #blockField(inode: number): Buffer {
    const tree = this.#roots.get(inode);
    return tree?.root ?? encodeExtentTree(this.parts.inodes.extents(inode), 0, this.#sink);
  }
}

const MAX_DIRECTORY_LINKS = 64999;

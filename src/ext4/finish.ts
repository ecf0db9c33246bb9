/** From the tree in memory to a complete filesystem: directories, journal, inode tables, bitmaps, descriptors, superblocks. */
import { ftruncateSync } from "node:fs";
import { AegisError } from "../support/errors.js";
import { BLOCK_CAPACITY, type DirectoryEntry, direntSize, dotEntries, encodeDirectoryBlock } from "./directory.js";
import { hashSeedWords } from "./directory-hash.js";
import { type BlockSink, encodeExtentTree, encodeRootExtents, ROOT_EXTENTS } from "./extents.js";
import { BLOCK_SIZE } from "./geometry.js";
import { writeGroups } from "./groups.js";
import { encodeHashedDirectory } from "./htree.js";
import { direntType, fileMode, INLINE_SIZE, inodeSeed, JOURNAL_INODE } from "./inode.js";
import { type ExtentTree, writeInodeTables } from "./inode-table.js";
import { encodeJournalSuperblock } from "./jbd2.js";
import type { Identity, Parts } from "./parts.js";
import { type FilesystemPlan, planFilesystem, type SizeRequest } from "./plan.js";
import { checksumSeed } from "./superblock.js";

export class Finisher {
  readonly #seed: number;
  readonly #sink: BlockSink;
  /** Of inodes with more extents than fit into the inode. */
  readonly #trees = new Map<number, ExtentTree>();

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
      if (inodes.mode[inode] !== 0 && inodes.extentCount[inode]! > ROOT_EXTENTS) this.#writeExtentTree(inode);
    }
    xattrs.place(inodes, this.#seed, this.#sink);
    const plan = planFilesystem(blocks, { ...request, inodes: inodes.end - 1 });
    writeInodeTables(this.parts, plan, this.#seed, this.#trees);
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
    const tree = this.#trees.get(JOURNAL_INODE);
    if (tree) tree.root.copy(out);
    else encodeRootExtents(this.parts.inodes.extents(JOURNAL_INODE), out, 0);
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
    this.#trees.set(inode, { root, blocks });
  }
}

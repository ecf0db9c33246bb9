/**
 * Blocks of the filesystem as they would be after its journal had been replayed: what the journal holds lies over the image
 * without changing it.
 */
import { corrupt } from "./failures.js";
import { JOURNAL_MAGIC } from "./jbd2.js";
import type { RandomAccessSource } from "./source.js";

export interface JournaledBlock {
  /** Where in the journal's blocks the content lies. */
  readonly block: number;
  /** The content starts with the journal's magic number, which was blanked out there. */
  readonly escaped: boolean;
}

const CACHE_BYTES = 8 << 20;
/** Inodes and directories that are read together lie together. */
const CLUSTER_BYTES = 32 << 10;

export class BlockDevice {
  readonly #clusterBlocks: number;
  readonly #capacity: number;
  /** Least recently used first. */
  readonly #clusters = new Map<number, Buffer>();

  constructor(
    readonly source: RandomAccessSource,
    readonly blockSize: number,
    readonly blocks: number,
    readonly journaled: ReadonlyMap<number, JournaledBlock> = new Map(),
  ) {
    this.#clusterBlocks = Math.max(1, CLUSTER_BYTES / blockSize);
    this.#capacity = CACHE_BYTES / (this.#clusterBlocks * blockSize);
  }

  /** A block of metadata, as a view that must not be changed or kept for long. */
  block(number: number): Buffer {
    this.#check(number, 1);
    const index = Math.floor(number / this.#clusterBlocks);
    let cluster = this.#clusters.get(index);
    if (cluster) {
      this.#clusters.delete(index);
    } else {
      if (this.#clusters.size >= this.#capacity) this.#clusters.delete(this.#clusters.keys().next().value!);
      const first = index * this.#clusterBlocks;
      cluster = Buffer.allocUnsafeSlow(Math.min(this.#clusterBlocks, this.blocks - first) * this.blockSize);
      this.read(cluster, first);
    }
    this.#clusters.set(index, cluster);
    const at = (number % this.#clusterBlocks) * this.blockSize;
    return cluster.subarray(at, at + this.blockSize);
  }

  /** Fills `target`, whole blocks, from `first` on. */
  read(target: Buffer, first: number): void {
    const count = Math.ceil(target.length / this.blockSize);
    this.#check(first, count);
    this.source.read(target, first * this.blockSize);
    if (this.journaled.size === 0) return;
    for (let i = 0; i < count; i++) {
      const entry = this.journaled.get(first + i);
      if (entry) this.#readJournaled(target.subarray(i * this.blockSize, (i + 1) * this.blockSize), entry);
    }
  }

  #readJournaled(target: Buffer, { block, escaped }: JournaledBlock): void {
    this.source.read(target, block * this.blockSize);
    if (escaped) target.writeUInt32BE(JOURNAL_MAGIC, 0);
  }

  #check(first: number, count: number): void {
    if (!(first >= 0 && first + count <= this.blocks)) {
      throw corrupt(`block ${first + count - 1} lies outside of it`);
    }
  }
}

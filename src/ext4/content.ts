/** A file's content on its way to blocks: data is packed into runs, holes take none. */
import type { BlockAllocator, Run } from "./allocator.js";
import { BLOCK_SIZE, ceilDiv } from "./geometry.js";
import type { InodeStore } from "./inode-store.js";
import type { Output } from "./output.js";

/**
 * One at a time: `begin`, then `data` and `hole` until `remaining` is 0. A block is stored when any of its bytes came as
 * data.
 */
export class ContentWriter {
  /** Bytes that the current file still lacks. */
  remaining = 0;
  #position = 0;
  #firstExtent = 0;
  /** The run being filled and how many bytes of it are; a closed run has length 0. */
  #run: Run = { start: 0, length: 0 };
  #filled = 0;
  #runLogical = 0;
  /** Recycled blocks set aside for the whole file; without them blocks come from the tail. */
  #reserve: Run | undefined;

  constructor(
    readonly blocks: BlockAllocator,
    readonly inodes: InodeStore,
    readonly output: Output,
  ) {}

  /** Starts a file of `size` bytes. */
  begin(size: number): void {
    this.remaining = size;
    this.#position = 0;
    this.#firstExtent = this.inodes.nextExtent;
    this.#reserve = size > 0 ? this.blocks.recycled(ceilDiv(size, BLOCK_SIZE)) : undefined;
  }

  data(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#run.length === 0) this.#open();
      const count = Math.min(chunk.length - at, this.#run.length * BLOCK_SIZE - this.#filled);
      this.output.write(this.#run.start * BLOCK_SIZE + this.#filled, chunk, at, at + count);
      this.#filled += count;
      this.#position += count;
      this.remaining -= count;
      at += count;
      if (this.#filled === this.#run.length * BLOCK_SIZE) this.#close();
    }
  }

  hole(length: number): void {
    let left = length;
    const partial = this.#filled % BLOCK_SIZE;
    if (this.#run.length > 0 && partial > 0) {
      const pad = Math.min(left, BLOCK_SIZE - partial);
      this.#zeros(pad);
      this.#position += pad;
      left -= pad;
    }
    this.remaining -= length;
    if (left === 0) return;
    if (this.#run.length > 0) this.#close();
    this.#position += left;
  }

  /** Ends the file and gives its extents. */
  end(): { extentsAt: number; extentCount: number } {
    if (this.#run.length > 0) this.#close();
    if (this.#reserve) this.blocks.release(this.#reserve);
    this.#reserve = undefined;
    return { extentsAt: this.#firstExtent, extentCount: this.inodes.nextExtent - this.#firstExtent };
  }

  #open(): void {
    const inBlock = this.#position % BLOCK_SIZE;
    const wanted = ceilDiv(inBlock + this.remaining, BLOCK_SIZE);
    if (this.#reserve) {
      const length = Math.min(wanted, this.#reserve.length);
      this.#run = { start: this.#reserve.start, length };
      this.#reserve = { start: this.#reserve.start + length, length: this.#reserve.length - length };
    } else {
      this.#run = this.blocks.fresh(wanted);
    }
    this.#filled = 0;
    this.#runLogical = Math.floor(this.#position / BLOCK_SIZE);
    this.#zeros(inBlock);
  }

  /** Closes the run after its last block with data; the rest goes back where it came from. */
  #close(): void {
    const partial = this.#filled % BLOCK_SIZE;
    if (partial > 0) this.#zeros(BLOCK_SIZE - partial);
    const used = this.#filled / BLOCK_SIZE;
    const rest = { start: this.#run.start + used, length: this.#run.length - used };
    if (this.#reserve) this.#reserve = { start: rest.start, length: rest.length + this.#reserve.length };
    else this.blocks.returnFresh(rest);
    this.inodes.addExtents(this.#runLogical, this.#run.start, used, this.#firstExtent);
    this.#run = { start: 0, length: 0 };
    this.#filled = 0;
  }

  #zeros(length: number): void {
    if (length === 0) return;
    this.output.zeros(this.#run.start * BLOCK_SIZE + this.#filled, length);
    this.#filled += length;
  }
}

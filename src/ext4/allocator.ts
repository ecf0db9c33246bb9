/**
 * Which blocks are taken. New blocks come from the tail, past everything used so far, so that content is written in one
 * sweep; blocks of removed files are kept by size and go to later files that fit whole. Blocks from the tail have never been
 * written and read as zeros; recycled ones may hold old content.
 */
import { nextReserved, skipReserved } from "./geometry.js";

export interface Run {
  readonly start: number;
  readonly length: number;
}

export class BlockAllocator {
  /** Every block before this one is taken, free in a bin, or reserved. */
  #tail = skipReserved(0);
  /** The reserved block that the tail meets next: it changes once in gigabytes. */
  #limit = nextReserved(0);
  /** bins[k]: free runs of 2^k to 2^(k+1)-1 blocks. */
  readonly #bins: Run[][] = [];

  get tail(): number {
    return this.#tail;
  }

  /** A run of at most `blocks` consecutive fresh blocks. */
  fresh(blocks: number): Run {
    const start = skipReserved(this.#tail);
    if (start >= this.#limit) this.#limit = nextReserved(start);
    const length = Math.min(blocks, this.#limit - start);
    this.#tail = start + length;
    return { start, length };
  }

  /** Takes everything before `end` but the given runs. */
  claimUpTo(end: number, free: readonly Run[]): void {
    this.#tail = end;
    for (const run of free) this.release(run);
  }

  /** A free run of at least `blocks` blocks, cut to that length. */
  recycled(blocks: number): Run | undefined {
    // Any run of the bins above fits; of its own bin only the top is looked at, which keeps this constant in time.
    const own = Math.floor(Math.log2(blocks));
    const top = this.#bins[own]?.at(-1);
    const bin = top && top.length >= blocks ? this.#bins[own] : this.#bins.find((b, k) => k > own && b.length > 0);
    const run = bin?.pop();
    if (!run) return undefined;
    this.release({ start: run.start + blocks, length: run.length - blocks });
    return { start: run.start, length: blocks };
  }

  release(run: Run): void {
    if (run.length === 0) return;
    const bin = Math.floor(Math.log2(run.length));
    while (this.#bins.length <= bin) this.#bins.push([]);
    this.#bins[bin]!.push(run);
  }

  /** Gives back the end of the newest fresh run, untouched. */
  returnFresh(run: Run): void {
    if (run.length > 0) this.#tail = run.start;
  }

  /** All free runs before the tail, in order, neighbours joined. */
  freeRuns(): Run[] {
    const joined: { start: number; length: number }[] = [];
    for (const run of this.#bins.flat().sort((a, b) => a.start - b.start)) {
      const last = joined.at(-1);
      if (last && last.start + last.length === run.start) last.length += run.length;
      else joined.push({ ...run });
    }
    return joined;
  }
}

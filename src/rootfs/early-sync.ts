/**
 * Starts writing a disk back while it is still growing, so that the sync at its end finds little left to do. Without this
 * the kernel waits until a tenth of the memory is dirty, and then for the whole image at once.
 */
import { fdatasync } from "node:fs";
import type { MergeTarget } from "./merge.js";

/** Large enough for the device to work in one sweep, small enough that the last one is soon done. */
const step = 64 << 20;
/** What is less costs a sync of its own more than it spares the last one. */
const smallest = 4 << 20;

export interface SyncingTarget extends MergeTarget, AsyncDisposable {
  /** No more content comes: what there is goes to the device beside what the caller does next. */
  complete(): void;
  /** Waits for what is being synced. @throws what a sync failed with: the kernel tells it only once */
  settle(): Promise<void>;
}

/** `target`, whose file `fd` is synced every 64 MiB. Has to be disposed of before the file is closed. */
export function syncingEarly(target: MergeTarget, fd: number): SyncingTarget {
  let unsynced = 0;
  let running: Promise<void> | undefined;
  let failure: Error | null = null;

  async function sync(): Promise<void> {
    while (unsynced >= step) {
      unsynced = 0;
      await new Promise<void>((resolve) => {
        fdatasync(fd, (error) => {
          failure ??= error;
          resolve();
        });
      });
    }
    running = undefined;
  }

  return {
    entry: (entry) => target.entry(entry),
    data(chunk) {
      unsynced += chunk.length;
      target.data(chunk);
    },
    hole: (length) => target.hole(length),
    remove: (path) => target.remove(path),
    drain() {
      if (unsynced >= step) running ??= sync();
      return target.drain();
    },
    complete() {
      if (unsynced < smallest) return;
      unsynced = step;
      running ??= sync();
    },
    async settle() {
      await running;
      if (failure) throw failure;
    },
    async [Symbol.asyncDispose]() {
      await running;
    },
  };
}

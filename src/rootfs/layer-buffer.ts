/**
 * Holds what a layer's decoder says until its turn comes: layers are decoded side by side but merged in order. Memory is
 * bounded by a budget that all waiting layers share; past it a decoder waits.
 */
import type { TreeEntry, TreeSink } from "../support/tree.js";

export interface BufferBudget {
  /** Bytes that may still be held. */
  left: number;
}

export interface LayerBuffer extends TreeSink {
  /** The turn has come: passes on what is held, then everything as it arrives. */
  open(): Promise<void>;
  /** Forgets what is held and takes nothing more. */
  discard(): void;
}

/** An entry, some of its content, or the length of a hole. */
type Held = TreeEntry | Buffer | number | undefined;

/** What an entry costs beside its content; an estimate. */
const entryCost = 512;
const slabSize = 1 << 20;

export function createLayerBuffer(target: TreeSink, budget: BufferBudget): LayerBuffer {
  let held: Held[] = [];
  let state: "holding" | "flowing" | "discarded" = "holding";
  let slab = Buffer.alloc(0);
  let used = 0;
  let wake: (() => void) | undefined;
  const opened = new Promise<void>((resolve) => {
    wake = resolve;
  });

  function hold(item: TreeEntry | Buffer | number, cost: number): void {
    if (state === "discarded") return;
    held.push(item);
    budget.left -= cost;
  }

  function holdBytes(chunk: Uint8Array): void {
    if (state === "discarded") return;
    if (used + chunk.length > slab.length) {
      slab = Buffer.allocUnsafeSlow(Math.max(slabSize, chunk.length));
      used = 0;
    }
    slab.set(chunk, used);
    hold(slab.subarray(used, used + chunk.length), chunk.length);
    used += chunk.length;
  }

  /** Empties `items` on the way, so that memory is free as soon as its bytes are passed on. */
  async function passOn(items: Held[]): Promise<void> {
    for (let i = 0; i < items.length; i++) {
      const item = items[i];
      items[i] = undefined;
      if (item === undefined) continue;
      if (typeof item === "number") target.hole(item);
      else if (item instanceof Uint8Array) target.data(item);
      else target.entry(item);
      budget.left += costOf(item);
      const full = target.drain();
      if (full) await full;
    }
  }

  return {
    entry: (entry) => (state === "flowing" ? target.entry(entry) : hold(entry, entryCost)),
    data: (chunk) => (state === "flowing" ? target.data(chunk) : holdBytes(chunk)),
    hole: (length) => (state === "flowing" ? target.hole(length) : hold(length, 0)),
    drain() {
      if (state === "flowing") return target.drain();
      return state === "holding" && budget.left <= 0 ? opened : undefined;
    },
    async open() {
      while (held.length > 0) {
        const items = held;
        held = [];
        await passOn(items);
      }
      state = "flowing";
      slab = Buffer.alloc(0);
      wake?.();
    },
    discard() {
      state = "discarded";
      held = [];
      wake?.();
    },
  };
}

function costOf(item: TreeEntry | Buffer | number): number {
  if (typeof item === "number") return 0;
  return item instanceof Uint8Array ? item.length : entryCost;
}

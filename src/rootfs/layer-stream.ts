/** Feeds a stack of stored layers to a merger: decoded side by side, merged in order, verified before anything counts. */
import { availableParallelism } from "node:os";
import { createDecodeThreads } from "../oci/decode/threads.js";
import { type OpenLayer, openLayer } from "../oci/layers.js";
import type { ImageStore } from "../oci/store.js";
import type { Descriptor } from "../oci/types.js";
import type { DiffId } from "../support/brands.js";
import type { LayerMerger } from "./merge.js";

export interface StackLayer {
  readonly descriptor: Descriptor;
  readonly diffId: DiffId;
}

export interface StreamOptions {
  readonly signal?: AbortSignal | undefined;
  /** Awaited before a layer is opened, so that assembly starts while later layers are still being downloaded. */
  readonly layerReady?: ((descriptor: Descriptor) => Promise<void>) | undefined;
}

/** Layers decoded at the same time: the one whose turn it is, and as many ahead as there are processors for them. */
const window = Math.min(Math.max(availableParallelism(), 2), 4);
/** Bytes of decoded layers that wait for their turn, in all. */
const lookAhead = 64 << 20;

/**
 * Pushes every layer into `merger`, bottom first, and calls `conclude` when nothing more comes. Only when all of that has
 * resolved is the content known to be what it should be: the last hash may take longer than writing.
 */
export async function streamLayers(
  store: Pick<ImageStore, "openBlob">,
  layers: readonly StackLayer[],
  merger: LayerMerger,
  conclude: () => Promise<void>,
  options: StreamOptions = {},
): Promise<void> {
  if (layers.length === 0) return await conclude();
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  await using threads = createDecodeThreads();
  const opening: Promise<OpenLayer>[] = [];

  function start({ descriptor, diffId }: StackLayer): void {
    const open = async () => {
      await options.layerReady?.(descriptor);
      signal.throwIfAborted();
      return await openLayer(store, descriptor, { signal, diffId, threads, aheadBytes: lookAhead / window });
    };
    const opened = open();
    // Its failure is met when its turn comes; until then it must not count as unhandled.
    opened.catch(() => undefined);
    opening.push(opened);
  }

  try {
    for (let index = 0; index < layers.length; index++) {
      while (opening.length < Math.min(index + window, layers.length)) start(layers[opening.length]!);
      await using layer = await opening[index]!;
      merger.beginLayer();
      const verified = await layer.read(merger);
      await merger.endLayer();
      if (index === layers.length - 1) await conclude();
      await verified();
    }
  } finally {
    stop.abort();
    for (const opened of await Promise.allSettled(opening)) {
      if (opened.status === "fulfilled") await opened.value[Symbol.asyncDispose]();
    }
  }
}

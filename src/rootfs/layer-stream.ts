/** Feeds a stack of stored layers to a merger: decoded side by side, merged in order, verified before anything counts. */
import { readLayer } from "../oci/layers.js";
import type { ImageStore } from "../oci/store.js";
import type { Descriptor } from "../oci/types.js";
import type { DiffId } from "../support/brands.js";
import { createLayerBuffer, type LayerBuffer } from "./layer-buffer.js";
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

/** Layers decoded at the same time: the one whose turn it is and one ahead keep two cores busy. */
const window = 2;
/** Bytes of decoded layers that wait for their turn, in all. */
const lookAhead = 64 << 20;

/** Pushes every layer into `merger`, bottom first. The caller finishes the merger. */
export async function streamLayers(
  store: Pick<ImageStore, "openBlob">,
  layers: readonly StackLayer[],
  merger: LayerMerger,
  options: StreamOptions = {},
): Promise<void> {
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const budget = { left: lookAhead };
  const running: { readonly buffer: LayerBuffer; readonly done: Promise<unknown> }[] = [];

  function start(layer: StackLayer): void {
    const buffer = createLayerBuffer(merger, budget);
    const decode = async () => {
      await options.layerReady?.(layer.descriptor);
      signal.throwIfAborted();
      await readLayer(store, layer.descriptor, buffer, { signal, diffId: layer.diffId });
    };
    const done = decode();
    // Its failure is met when its turn comes; until then it must not count as unhandled.
    done.catch(() => undefined);
    running.push({ buffer, done });
  }

  try {
    for (let index = 0; index < layers.length; index++) {
      while (running.length < Math.min(index + window, layers.length)) start(layers[running.length]!);
      const { buffer, done } = running[index]!;
      merger.beginLayer();
      await buffer.open();
      await done;
      await merger.endLayer();
    }
  } finally {
    stop.abort();
    for (const { buffer } of running) buffer.discard();
    await Promise.allSettled(running.map(({ done }) => done));
  }
}

/**
 * Where layers come from that the store lacks: images that FROM names, and imported caches. They are fetched when something
 * reads them or the result needs them. Of a stage whose steps are all cached, nothing is.
 */
import type { Descriptor } from "../oci/types.js";
import type { Digest } from "../support/brands.js";
import { AegisError } from "../support/errors.js";

export interface LayerOrigin {
  /** Brings the layer into the store. */
  fetch(layer: Descriptor): Promise<void>;
  /** Set when it only knows of the layer, and can but explain why it isn't here. */
  readonly lacks?: true;
  /** Resolves once what `fetch` has begun is complete. */
  settled?(): Promise<void>;
  /** What was begun has to have been aborted or settled. */
  [Symbol.asyncDispose]?(): Promise<void>;
}

interface LayerStore {
  hasBlob(digest: Digest): Promise<boolean>;
}

export class LayerSupply implements AsyncDisposable {
  readonly #store: LayerStore;
  readonly #origins = new Map<Digest, LayerOrigin[]>();
  readonly #arriving = new Map<Digest, Promise<void>>();
  readonly #all = new Set<LayerOrigin>();

  constructor(store: LayerStore) {
    this.#store = store;
  }

  /** Names a place that has these layers; places are asked in the order in which they were named. */
  offer(layers: readonly Descriptor[], origin: LayerOrigin): void {
    this.#all.add(origin);
    for (const { digest } of layers) {
      const known = this.#origins.get(digest) ?? [];
      if (!known.includes(origin)) this.#origins.set(digest, [...known, origin]);
    }
  }

  /** Whether the layer is here or can be fetched. */
  async knows({ digest }: Descriptor): Promise<boolean> {
    return this.#origins.get(digest)?.some((it) => !it.lacks) || (await this.#store.hasBlob(digest));
  }

  /**
   * Resolves once the store has the layer, which is then safe from collection until the build ends.
   * @throws AegisError LAYERS_COLLECTED when nothing has it, and what fetching throws
   */
  ready(layer: Descriptor): Promise<void> {
    const known = this.#arriving.get(layer.digest);
    if (known) return known;
    const arriving = this.#fetch(layer);
    this.#arriving.set(layer.digest, arriving);
    return arriving;
  }

  /** Starts fetching what is missing; failures are met by whoever awaits `ready`. */
  begin(layers: readonly Descriptor[]): void {
    for (const layer of layers) this.ready(layer).catch(() => undefined);
  }

  /** Resolves once everything that was begun is complete. @throws what fetching throws */
  async settled(): Promise<void> {
    for (const origin of this.#all) await origin.settled?.();
  }

  /** Lets go of every origin; what is still on its way has to have been aborted. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#all].map((origin) => origin[Symbol.asyncDispose]?.()));
  }

  async #fetch(layer: Descriptor): Promise<void> {
    if (await this.#store.hasBlob(layer.digest)) return;
    const origins = this.#origins.get(layer.digest) ?? [];
    for (const [i, origin] of origins.entries()) {
      try {
        await origin.fetch(layer);
        return;
      } catch (error) {
        if (i === origins.length - 1) throw error;
      }
    }
    throw new AegisError("LAYERS_COLLECTED", `the layer ${layer.digest} was removed while it was needed`, {
      hint: "a prune ran at the same time; build again",
    });
  }
}

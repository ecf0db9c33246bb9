/** Which images go when space is wanted: dangling ones, or all that nothing uses, oldest first, until enough is free. */
import type { Digest } from "../../support/brands.js";
import { selectImages } from "../select.js";
import type { ImageStore, ImageSummary } from "../store.js";
import type { Keep } from "./collect.js";

export interface PruneOptions {
  /** Also images that have a name, unless something uses them. */
  readonly all?: boolean | undefined;
  /** As `images --filter`: `until=24h`, `label=...`. */
  readonly filters?: readonly string[] | undefined;
  /** Stop as soon as the store takes no more than this, bytes. */
  readonly keepStorage?: number | undefined;
  /** Digests that something outside of the store needs. */
  readonly keep?: Keep | undefined;
}

export interface Pruned {
  readonly images: readonly ImageSummary[];
  /** Bytes that were freed. */
  readonly bytes: number;
}

/** Removes images and then every blob that nothing needs. @throws AegisError BAD_FILTER */
export async function pruneImages(store: ImageStore, options: PruneOptions = {}): Promise<Pruned> {
  const used = new Set<Digest>(await options.keep?.());
  const candidates = (await selectImages(store, options.filters ?? []))
    .filter((image) => options.all || image.names.length === 0)
    .filter((image) => !used.has(image.target.digest) && !image.platforms.some((it) => used.has(it.digest)))
    .reverse();
  // What was only looked at to choose must not be held by ourselves.
  await store.close();
  const images: ImageSummary[] = [];
  let bytes = 0;
  const sweep = async () => {
    bytes += (await store.collect({ keep: options.keep })).bytes;
  };
  const isEnough = async () => options.keepStorage !== undefined && (await store.usage()).bytes <= options.keepStorage;
  await sweep();
  for (const image of candidates) {
    if (await isEnough()) break;
    await store.remove(image.target.digest);
    images.push(image);
    if (options.keepStorage !== undefined) await sweep();
  }
  await sweep();
  return { images, bytes };
}

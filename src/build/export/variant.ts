/** In which form an image leaves: compression and media types of its layers. The store's own form is gzip, with OCI's types. */
import type { Compression } from "../../oci/media-types.js";
import { layerCompression, withLayerType } from "../../oci/media-types.js";
import type { Descriptor } from "../../oci/types.js";
import type { BuildEnvironment } from "../environment.js";
import { keyOf, type LayerRef } from "../steps/step.js";
import type { Annotation } from "./annotations.js";

export interface ImageVariant {
  readonly compression: Compression;
  /** gzip 1 to 9, zstd 1 to 19; undefined: the usual one. */
  readonly level?: number | undefined;
  /** Layers of the base image too. */
  readonly force: boolean;
  /** Docker's media types (schema 2) instead of OCI's. */
  readonly dockerTypes: boolean;
  readonly annotations: readonly Annotation[];
}

export const usualVariant: ImageVariant = { compression: "gzip", force: false, dockerTypes: false, annotations: [] };

/** Descriptors of an image's layers in the variant's form; the first `inherited` come from the base image. */
export async function layersInForm(
  environment: BuildEnvironment,
  layers: readonly LayerRef[],
  inherited: number,
  variant: ImageVariant,
): Promise<readonly Descriptor[]> {
  const found: Descriptor[] = [];
  for (const [i, layer] of layers.entries()) {
    const isOurs = variant.force || i >= inherited;
    const converted = isOurs ? await recompressed(environment, layer, variant) : layer.descriptor;
    found.push(withLayerType(converted, variant.dockerTypes));
  }
  return found;
}

/** Done once for a layer: what came out is remembered. */
async function recompressed(
  environment: BuildEnvironment,
  layer: LayerRef,
  { compression, level }: ImageVariant,
): Promise<Descriptor> {
  const { cache, store, progress } = environment;
  const { descriptor } = layer;
  if (layerCompression(descriptor.mediaType) === compression && level === undefined) return descriptor;
  const fact = keyOf(["recompressed", layer.diffId, compression, level ?? null]);
  const known = await cache.recall(fact);
  if (known !== undefined) {
    const before = JSON.parse(known) as Descriptor;
    if (await store.hasBlob(before.digest)) return before;
  }
  const { recompressLayer } = await import("../../oci/recompress.js");
  const made = await progress.during(`compressing ${descriptor.digest.slice(0, 19)} as ${compression}`, () =>
    recompressLayer(store, descriptor, {
      compression,
      level,
      diffId: layer.diffId,
      signal: environment.request.signal,
    }),
  );
  await cache.remember(fact, JSON.stringify(made));
  return made;
}

/**
 * Leaves a build's cache somewhere (`--cache-to`): an OCI manifest whose config says which step made which layer, and whose
 * layers are the steps' own. Layers of the base image are not among them: who imports the cache has FROM's image.
 */
import { replaceInLayout } from "../../oci/archive/layout.js";
import { encodeDocument } from "../../oci/documents.js";
import { mediaTypes } from "../../oci/media-types.js";
import { familiarName, parseReference } from "../../oci/references.js";
import { pushRecord } from "../../oci/registry/push.js";
import type { Descriptor, ImageManifest } from "../../oci/types.js";
import type { Digest } from "../../support/brands.js";
import { registriesFile } from "../../support/home.js";
import type { BuildEnvironment } from "../environment.js";
import type { StepHandle } from "../progress.js";
import type { CacheMode, CacheTarget } from "../request-cache.js";
import type { LayerRef } from "../steps/step.js";
import { cacheConfigType, encodeCache } from "./document.js";

type OwnPlace = Exclude<CacheTarget, { readonly type: "inline" }>;

/** @throws AegisError REGISTRY_*, LAYOUT_INVALID and what writing throws, unless failures are to be ignored */
export async function exportCache(
  environment: BuildEnvironment,
  target: OwnPlace,
  result: readonly LayerRef[],
): Promise<void> {
  const { progress } = environment;
  const title = target.type === "local" ? target.directory : familiarName(target.reference);
  try {
    await progress.during(`exporting cache to ${title}`, (step) => write(environment, target, result, step));
  } catch (error) {
    environment.request.signal?.throwIfAborted();
    if (!target.ignoreError || !(error instanceof Error)) throw error;
    progress.warn({ text: `the cache was not exported to ${title}: ${error.message}` });
  }
}

async function write(
  environment: BuildEnvironment,
  target: OwnPlace,
  result: readonly LayerRef[],
  step: StepHandle,
): Promise<void> {
  const { store, layers, home, request, used } = environment;
  const carried = await layersFor(target.mode, environment, result);
  const config = encodeDocument(encodeCache(used), cacheConfigType);
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: config.descriptor,
    layers: carried,
  };
  const encoded = encodeDocument(manifest, mediaTypes.ociManifest);
  for (const { bytes, descriptor } of [config, encoded]) await store.writeBlob(bytes, descriptor);
  step.note(`manifest ${encoded.descriptor.digest}, ${used.steps.size} steps, ${carried.length} layers`);
  const layerReady = (layer: Descriptor) => layers.ready(layer);
  if (target.type === "local") {
    const place = { directory: target.directory, name: target.tag };
    await replaceInLayout(store, encoded.descriptor, place, layerReady);
    return;
  }
  await pushRecord(store, { target: encoded.descriptor, names: [] }, parseReference(target.reference), {
    signal: request.signal,
    registry: { settingsFile: registriesFile(home) },
    blobReady: layerReady,
  });
}

/** Layers that the cache carries; it knows the other steps' by digest alone. */
async function layersFor(
  mode: CacheMode,
  { used, layers }: BuildEnvironment,
  result: readonly LayerRef[],
): Promise<readonly Descriptor[]> {
  const ofResult = new Set<Digest>(result.map(({ descriptor }) => descriptor.digest));
  const carried = new Map<Digest, Descriptor>();
  for (const { layer } of used.steps.values()) {
    const { descriptor } = layer;
    if (mode === "max" ? await layers.knows(descriptor) : ofResult.has(descriptor.digest)) {
      carried.set(descriptor.digest, descriptor);
    }
  }
  return [...carried.values()].sort((a, b) => (a.digest < b.digest ? -1 : 1));
}

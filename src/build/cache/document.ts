/**
 * A cache that leaves this machine, as a document: which step made which layer, and digests of trees that steps copied from.
 * The form is BuildKit's (config media type `application/vnd.buildkit.cacheconfig.v0`: `layers`, and `records` by key), so
 * that registries and tools take it for what it is. The keys are aegis's own, so neither finds hits in the other's caches.
 * Documents come from outside: nothing in them is believed beyond its shape.
 */
import { isDigest } from "../../oci/digests.js";
import { checkDescriptor } from "../../oci/documents.js";
import { isForeignLayerType, layerCompression } from "../../oci/media-types.js";
import type { DiffId } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { LayerRef } from "../steps/step.js";
import type { StepRecord } from "./steps.js";

export const cacheConfigType = "application/vnd.buildkit.cacheconfig.v0";
/** Where an image's config carries its cache. */
export const inlineField = "dev.aegis.cache.v1";
/** Digests of trees by the question that was asked about them; a field that BuildKit does not know. */
const treesField = "dev.aegis.trees";

export interface CacheContent {
  /** By the steps' keys. */
  readonly steps: ReadonlyMap<string, StepRecord>;
  /** Digests of trees, by what was asked. */
  readonly trees: ReadonlyMap<string, string>;
}

/** The document, in an order that depends on its content alone. */
export function encodeCache({ steps, trees }: CacheContent): object {
  const sorted = [...steps].sort(byKey);
  const layers = [...new Map(sorted.map(([, { layer }]) => [layer.descriptor.digest, layer])).values()];
  const indexOf = (layer: LayerRef) => layers.findIndex((it) => it.descriptor.digest === layer.descriptor.digest);
  return {
    layers: layers.map(({ descriptor: { digest, mediaType, size }, diffId }) => ({
      blob: digest,
      // Keys say all that a step depends on, so layers need no chain.
      parent: -1,
      annotations: { mediaType, diffID: diffId, size },
    })),
    records: sorted.map(([key, { layer, created }]) => ({
      digest: `sha256:${key}`,
      layers: [{ layer: indexOf(layer), createdAt: created }],
    })),
    [treesField]: Object.fromEntries([...trees].sort(byKey)),
  };
}

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1);

/** @throws AegisError CACHE_INVALID, BAD_DIGEST, IMAGE_INVALID, LAYER_TYPE_UNKNOWN */
export function decodeCache(value: unknown): CacheContent {
  const { layers, records, [treesField]: trees } = fieldsOf(value, "it");
  const known = listOf(layers, "layers").map(layerOf);
  const steps = new Map<string, StepRecord>();
  for (const record of listOf(records, "records")) {
    const { digest, layers: results } = fieldsOf(record, "a record");
    const { layer, createdAt } = fieldsOf(listOf(results ?? [], "a record's layers")[0] ?? {}, "a result");
    const made = typeof layer === "number" ? known[layer] : undefined;
    // A record of another builder may lead to several layers, or to none.
    if (!made || !isDigest(String(digest)) || typeof createdAt !== "string") continue;
    if (!timePattern.test(createdAt) || Number.isNaN(Date.parse(createdAt))) throw invalid("a record has no time");
    steps.set(String(digest).slice("sha256:".length), { layer: made, created: createdAt });
  }
  const answers = Object.entries(fieldsOf(trees ?? {}, treesField));
  for (const [question, answer] of answers) {
    if (!hex.test(question) || !hex.test(String(answer))) throw invalid(`${treesField} is malformed`);
  }
  return { steps, trees: new Map(answers as [string, string][]) };
}

const hex = /^[0-9a-f]{64}$/;
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

function layerOf(value: unknown): LayerRef {
  const { blob, annotations } = fieldsOf(value, "a layer");
  const { mediaType, diffID, size } = fieldsOf(annotations ?? {}, "a layer's annotations");
  const descriptor = checkDescriptor({ mediaType, digest: blob, size }, "a layer");
  layerCompression(descriptor.mediaType);
  if (isForeignLayerType(descriptor.mediaType)) throw invalid("a layer is a foreign one");
  if (!isDigest(String(diffID))) throw invalid("a layer has no diff id");
  return { descriptor, diffId: diffID as DiffId };
}

function fieldsOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalid(`${what} is not an object`);
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw invalid(`${what} is not a list`);
}

const invalid = (what: string) =>
  new AegisError("CACHE_INVALID", `the cache is malformed: ${what}`, {
    hint: "write it again with --cache-to; caches of other builders can't be read",
  });

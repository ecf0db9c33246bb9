/**
 * Caches that other builds left somewhere (`--cache-from`). Only what they know is read at first; a layer follows when it is
 * needed, and is checked against its digest and diff id before anything uses it. A cache that can't be had, or can't give
 * what it promised, is done without.
 */
import { openLayoutArtifact } from "../../oci/archive/layout.js";
import type { Artifact } from "../../oci/artifact.js";
import { readLayer } from "../../oci/layers.js";
import { isImageConfigType } from "../../oci/media-types.js";
import { familiarName } from "../../oci/references.js";
import { openArtifact } from "../../oci/registry/artifact.js";
import type { ImageStore } from "../../oci/store.js";
import { discardTree } from "../../oci/tar/decode.js";
import type { Descriptor } from "../../oci/types.js";
import type { Digest } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import { type AegisHome, registriesFile } from "../../support/home.js";
import { turns } from "../../support/turns.js";
import type { LayerOrigin, LayerSupply } from "../layer-supply.js";
import type { Progress } from "../progress.js";
import type { CacheSource } from "../request-cache.js";
import type { LayerRef } from "../steps/step.js";
import type { BuildRequest } from "../types.js";
import { type CacheContent, cacheConfigType, decodeCache, inlineField } from "./document.js";
import type { StepRecord } from "./steps.js";
import { CacheUnusable } from "./unusable.js";

interface ImportedCache {
  readonly title: string;
  readonly content: CacheContent;
  readonly artifact: Artifact;
  /** Layers that it holds, as opposed to those that it only knows. */
  readonly origin: LayerOrigin;
  readonly held: ReadonlySet<Digest>;
}

interface Surroundings {
  readonly home: AegisHome;
  readonly store: ImageStore;
  readonly progress: Progress;
}

/** Layers of one cache that are fetched and checked at the same time. */
const concurrency = 4;

export class CacheImports implements AsyncDisposable {
  readonly #opened: readonly ImportedCache[];
  /** Those that are still relied on. */
  #caches: readonly ImportedCache[];
  /** Steps whose layers no cache holds count until a layer of them is needed. */
  #unheldCount = true;
  readonly #found = new Set<string>();

  private constructor(
    caches: readonly ImportedCache[],
    readonly progress: Progress,
    readonly stop: AbortController,
  ) {
    this.#caches = caches;
    this.#opened = caches;
  }

  /** Reads what the caches know. One that can't be read is a warning. */
  static async open(request: BuildRequest, at: Surroundings): Promise<CacheImports> {
    const stop = new AbortController();
    const signal = request.signal ? AbortSignal.any([request.signal, stop.signal]) : stop.signal;
    const opened = await Promise.all(request.cacheFrom.map((source) => openQuietly(source, signal, at)));
    const caches = opened.filter((it) => it !== undefined);
    return new CacheImports(caches, at.progress, stop);
  }

  /** A step that one of the caches has; its layer can then be had from `supply`. */
  find(key: string, supply: LayerSupply): StepRecord | undefined {
    for (const { content, held, origin, title } of this.#caches) {
      const record = content.steps.get(key);
      if (!record) continue;
      const isHeld = held.has(record.layer.descriptor.digest);
      if (!isHeld && !this.#unheldCount) continue;
      supply.offer([record.layer.descriptor], isHeld ? origin : unheld(title));
      this.#found.add(key);
      return record;
    }
    return undefined;
  }

  /** Digest of a tree that steps copied from. */
  tree(question: string): string | undefined {
    return this.#caches.map(({ content }) => content.trees.get(question)).find((it) => it !== undefined);
  }

  /** Whether the step came from here. */
  gave(key: string): boolean {
    return this.#found.has(key);
  }

  /** Does without what a build failed on; false when the failure had nothing to do with a cache. */
  without(failure: unknown): boolean {
    const unusable = CacheUnusable.in(failure) ?? this.#liar(failure);
    if (!unusable) return false;
    this.#found.clear();
    if (unusable.unheld) {
      if (!this.#unheldCount) return false;
      this.#unheldCount = false;
      this.progress.warn({ text: `${unusable.message}; its steps are done again` });
      return true;
    }
    const rest = this.#caches.filter(({ title }) => title !== unusable.title);
    if (rest.length === this.#caches.length) return false;
    this.#caches = rest;
    this.progress.warn({ text: `${unusable.message}; the build goes on without it` });
    return true;
  }

  /** The cache that has a wrong diff id for a layer that was here already. */
  #liar(failure: unknown): CacheUnusable | undefined {
    if (!(failure instanceof AegisError) || failure.code !== "DIFF_ID_MISMATCH") return undefined;
    const claimed = ({ layer }: StepRecord) => layer.diffId === failure.details?.expected;
    const title = this.#caches.find(({ content }) => [...content.steps.values()].some(claimed))?.title;
    if (title === undefined) return undefined;
    return new CacheUnusable(`the cache ${title} can't give a layer: ${failure.message}`, { title, cause: failure });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A layer that is still on its way is of no use any more.
    this.stop.abort();
    await Promise.all(this.#opened.map(({ artifact }) => artifact[Symbol.asyncDispose]()));
  }
}

const unheld = (title: string): LayerOrigin => ({
  lacks: true,
  fetch: async () => {
    throw new CacheUnusable(`the cache ${title} has a layer's digest but not the layer`, { title, unheld: true });
  },
});

const titleOf = (source: CacheSource): string =>
  source.type === "local" ? source.directory : familiarName(source.reference);

async function openQuietly(
  source: CacheSource,
  signal: AbortSignal,
  at: Surroundings,
): Promise<ImportedCache | undefined> {
  const title = titleOf(source);
  try {
    return await at.progress.during(`importing cache from ${title}`, () => open(source, title, signal, at));
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AegisError)) throw error;
    at.progress.warn({ text: `the cache ${title} is not used: ${error.message}` });
    return undefined;
  }
}

async function open(
  source: CacheSource,
  title: string,
  signal: AbortSignal,
  { store, home }: Surroundings,
): Promise<ImportedCache> {
  const artifact =
    source.type === "local"
      ? await openLayoutArtifact(store, source.directory, source.digest ?? source.tag)
      : await openArtifact(store, source.reference, { signal, registry: { settingsFile: registriesFile(home) } });
  try {
    const content = contentOf(artifact, title);
    const held = new Set(artifact.manifest.layers.map((layer) => layer.digest));
    return { title, content, artifact, held, origin: originOf(artifact, content, title, store, signal) };
  } catch (error) {
    await artifact[Symbol.asyncDispose]();
    throw error;
  }
}

function contentOf({ manifest, config }: Artifact, title: string): CacheContent {
  const isImage = isImageConfigType(manifest.config.mediaType);
  if (!isImage && manifest.config.mediaType !== cacheConfigType) {
    throw new AegisError("CACHE_INVALID", `${title} is neither a cache nor an image`);
  }
  const value: unknown = JSON.parse(config.toString("utf8"));
  const inline = isImage ? (value as Record<string, unknown> | null)?.[inlineField] : value;
  if (inline !== undefined) return decodeCache(inline);
  throw new AegisError("CACHE_INVALID", `the image ${title} carries no cache`, {
    hint: "build it with --cache-to type=inline",
  });
}

function originOf(
  artifact: Artifact,
  content: CacheContent,
  title: string,
  store: ImageStore,
  signal: AbortSignal,
): LayerOrigin {
  const layers = new Map<Digest, LayerRef>();
  for (const { layer } of content.steps.values()) layers.set(layer.descriptor.digest, layer);
  const inTurn = turns(concurrency);
  const fetch = async ({ digest }: Descriptor) => {
    const { descriptor, diffId } = layers.get(digest)!;
    try {
      await artifact.fetch(descriptor);
      await readLayer(store, descriptor, discardTree, { diffId, signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AegisError)) throw error;
      throw new CacheUnusable(`the cache ${title} can't give a layer: ${error.message}`, { title, cause: error });
    }
  };
  return { fetch: (layer) => inTurn(() => fetch(layer)) };
}

/** Images from registries into the store. Nothing is named before all of it has been verified. */
import { deferred } from "../../support/deferred.js";
import { AegisError } from "../../support/errors.js";
import { documentKind, parseConfig, parseIndex, parseManifest } from "../documents.js";
import { choosePlatform, formatPlatform, hostPlatform } from "../platforms.js";
import { familiarName, formatReference, parseReference, type Reference } from "../references.js";
import type { ImageStore } from "../store.js";
import type { Descriptor, Platform, StoredImage } from "../types.js";
import { fetchBlob } from "./download.js";
import { type Fetched, fetchManifest } from "./manifests.js";
import { inParallel } from "./parallel.js";
import type { Report } from "./progress.js";
import { atFirstPlace, openSession, type RegistryOptions, type Session } from "./session.js";

export interface PullOptions {
  /** The host's unless told. */
  readonly platform?: Platform | undefined;
  readonly onProgress?: Report | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly registry?: RegistryOptions | undefined;
}

const defaultConcurrency = 4;

/** An image whose layers are still on their way. */
export interface PendingPull {
  /** Known and verified; the store has its config, but not yet its layers, nor its name. */
  readonly image: StoredImage;
  /** Resolves once the store has the layer; rejects with what stopped the pull. */
  layerReady(layer: Descriptor): Promise<void>;
  /** Resolves once everything is in the store and named. Has to be awaited, whatever else happens. */
  readonly finished: Promise<void>;
}

/**
 * Pulls the image that `text` names, for one platform. Layers that are in the store already are not fetched again.
 * @throws AegisError BAD_REFERENCE, REGISTRY_*, NO_SUCH_PLATFORM, DIGEST_MISMATCH, SIZE_MISMATCH, IMAGE_INVALID,
 *   NOT_AN_IMAGE, FOREIGN_LAYER, SCHEMA1_UNSUPPORTED
 */
export async function pullImage(store: ImageStore, text: string, options: PullOptions = {}): Promise<StoredImage> {
  const pending = await beginPull(store, text, options);
  await pending.finished;
  return pending.image;
}

/** As `pullImage`, but resolves when it is known which layers come, so that they can be assembled meanwhile. */
export async function beginPull(store: ImageStore, text: string, options: PullOptions = {}): Promise<PendingPull> {
  return (await preparePull(store, text, options)).begin();
}

/** An image that is known, and whose layers may be wanted or not. */
export interface PreparedPull extends AsyncDisposable {
  readonly image: StoredImage;
  /** Starts fetching the layers. To be called once at most; without it the pull has to be disposed of. */
  begin(): PendingPull;
}

/** As `beginPull`, but fetches nothing except manifest and config until it is told to. */
export async function preparePull(store: ImageStore, text: string, options: PullOptions = {}): Promise<PreparedPull> {
  const reference = parseReference(text);
  const report = options.onProgress ?? (() => undefined);
  const session = await openSession(reference, "pull", options.registry ?? {});
  try {
    const { top, chosen } = await fetchChosen(session, reference, options);
    const manifest = parseManifest(chosen.bytes);
    await fetchBlob(session, store, manifest.config, { report, signal: options.signal });
    const config = parseConfig(await store.readBlob(manifest.config.digest), manifest);
    checkPlatform(config, reference, options.platform);
    report({ type: "image", descriptor: chosen.descriptor, manifest, config });
    const image = { target: chosen.descriptor, manifest, config, names: [nameOf(reference)] };
    return {
      image,
      begin: () => fetchLayers(store, session, image, new Set([chosen, top]), options),
      [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
    };
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

/** Fetches the layers, then stores `documents`, the last of which is what the name leads to. */
function fetchLayers(
  store: ImageStore,
  session: Session,
  image: StoredImage,
  documents: ReadonlySet<Fetched>,
  options: PullOptions,
): PendingPull {
  const { manifest, names } = image;
  const report = options.onProgress ?? (() => undefined);
  const arrivals = new Map(manifest.layers.map((layer) => [layer.digest, deferred()]));
  // Nobody may be waiting for a layer.
  for (const { promise } of arrivals.values()) promise.catch(() => undefined);
  const fetchAll = async () => {
    const layers = [...new Map(manifest.layers.map((layer) => [layer.digest, layer])).values()];
    const limit = options.registry?.concurrency ?? defaultConcurrency;
    await inParallel(layers, limit, options.signal, async (layer, signal) => {
      await fetchBlob(session, store, layer, { report, signal });
      arrivals.get(layer.digest)!.resolve();
    });
    for (const { descriptor, bytes } of documents) {
      await store.writeBlob(bytes, { mediaType: descriptor.mediaType, expected: descriptor });
    }
    await store.putTarget([...documents].at(-1)!.descriptor, names);
  };
  const finished = fetchAll()
    .catch((error) => {
      for (const arrival of arrivals.values()) arrival.reject(error);
      throw error;
    })
    .finally(() => session[Symbol.asyncDispose]());
  finished.catch(() => undefined);
  return {
    image,
    layerReady: async (layer) => await arrivals.get(layer.digest)?.promise,
    finished,
  };
}

/** By digest if there is one: then the tag is only a comment. */
const nameOf = ({ domain, path, tag, digest }: Reference): string =>
  formatReference(digest === undefined ? { domain, path, tag: tag! } : { domain, path, digest });

/** What a name leads to, and, when that is an index, what it has for the platform. */
export async function fetchChosen(
  session: Session,
  reference: Reference,
  options: PullOptions,
): Promise<{ readonly top: Fetched; readonly chosen: Fetched }> {
  const top = await fetchTop(session, reference, options.signal);
  options.onProgress?.({ type: "resolved", name: formatReference(reference), target: top.descriptor });
  return { top, chosen: await chooseManifest(session, reference, top, options) };
}

async function fetchTop(session: Session, reference: Reference, signal: AbortSignal | undefined): Promise<Fetched> {
  const wanted = reference.digest ?? reference.tag!;
  return await atFirstPlace(session, (place) => fetchManifest(place, wanted, { digest: reference.digest }, signal));
}

async function chooseManifest(
  session: Session,
  reference: Reference,
  top: Fetched,
  options: PullOptions,
): Promise<Fetched> {
  let current = top;
  for (let depth = 0; documentKind(current.bytes, current.descriptor.mediaType) === "index"; depth++) {
    const offered = parseIndex(current.bytes).manifests;
    const chosen = depth < 4 ? pick(offered, options.platform ?? hostPlatform()) : undefined;
    if (!chosen)
      throw noSuchPlatform(
        reference,
        options.platform,
        offered.map((it) => it.platform),
      );
    current = await atFirstPlace(session, (place) => fetchManifest(place, chosen.digest, chosen, options.signal));
  }
  return current;
}

function pick(offered: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  const images = offered.filter((it) => it.annotations?.["vnd.docker.reference.type"] === undefined);
  // An index of one that names no platform leaves no choice.
  if (images.length === 1 && images[0]!.platform === undefined) return images[0];
  return choosePlatform(images, (it) => it.platform, wanted);
}

function checkPlatform(config: Platform, reference: Reference, wanted: Platform | undefined): void {
  if (wanted === undefined || choosePlatform([config], (it) => it, wanted)) return;
  throw noSuchPlatform(reference, wanted, [config]);
}

function noSuchPlatform(
  reference: Reference,
  wanted: Platform | undefined,
  offered: readonly (Platform | undefined)[],
): AegisError {
  const has = [...new Set(offered.filter((it) => it && it.os !== "unknown").map((it) => formatPlatform(it!)))];
  const shown = formatPlatform(wanted ?? hostPlatform());
  return new AegisError("NO_SUCH_PLATFORM", `${familiarName(reference)} has no image for ${shown}`, {
    hint: has.length > 0 ? `it has ${has.join(", ")}` : "it names no platform at all",
    details: { wanted: shown, offered: has },
  });
}

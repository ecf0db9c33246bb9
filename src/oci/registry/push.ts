/** Images from the store to a registry: blobs first, then manifests from the bottom up, the tag last. */
import type { Digest } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import { documentKind, parseIndex, parseManifest } from "../documents.js";
import { choosePlatform, hostPlatform } from "../platforms.js";
import { formatReference, parseReference, type Reference } from "../references.js";
import type { ImageRecord } from "../store/images.js";
import { type ImageStore, imageNotFound, platformOf } from "../store.js";
import type { Descriptor, Platform } from "../types.js";
import { hasManifest, putManifest } from "./manifests.js";
import { inParallel } from "./parallel.js";
import type { Report } from "./progress.js";
import { addToFallbackTag } from "./referrers.js";
import { openSession, type Place, type RegistryOptions } from "./session.js";
import { uploadBlob } from "./upload.js";

export interface PushOptions {
  /** Only this platform of an image that has several. */
  readonly platform?: Platform | undefined;
  readonly onProgress?: Report | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly registry?: RegistryOptions | undefined;
  /** Awaited before a blob that the registry lacks is read from the store. */
  readonly blobReady?: ((blob: Descriptor) => Promise<void>) | undefined;
}

export interface Pushed {
  readonly name: string;
  readonly target: Descriptor;
}

/**
 * Pushes the image that the store has under `text`. An index goes as it is when all of its platforms are in the store or at
 * the registry already; otherwise the platform that is in the store goes alone.
 * @throws AegisError BAD_REFERENCE, IMAGE_NOT_FOUND, NO_SUCH_PLATFORM, REGISTRY_*, BLOB_MISSING
 */
export async function pushImage(store: ImageStore, text: string, options: PushOptions = {}): Promise<Pushed> {
  const reference = parseReference(text);
  const record = await store.find(formatReference(reference));
  if (!record) throw imageNotFound(text);
  return await pushRecord(store, record, reference, options);
}

/** Pushes a record of the store under any name, which the store need not know. */
export async function pushRecord(
  store: ImageStore,
  record: ImageRecord,
  reference: Reference,
  options: PushOptions = {},
): Promise<Pushed> {
  const report = options.onProgress ?? (() => undefined);
  await using session = await openSession(reference, "pull,push", options.registry ?? {});
  const place = session.places.at(-1)!;
  const target = await whatToPush(store, record, place, options, report);
  const manifests = await collectManifests(store, target);
  const blobs = new Map<Digest, Descriptor>();
  for (const { kind, bytes } of manifests) {
    if (kind === "index") continue;
    const manifest = parseManifest(bytes);
    for (const blob of [...manifest.layers, manifest.config]) blobs.set(blob.digest, blob);
  }
  const mountFrom = await siblingRepositories(store, reference, new Set(blobs.keys()));
  await inParallel([...blobs.values()], options.registry?.concurrency ?? 4, options.signal, async (blob, signal) => {
    const from = mountFrom.get(blob.digest) ?? [];
    const chunkSize = options.registry?.chunkSize ?? 0;
    const { blobReady } = options;
    await uploadBlob(place, store, blob, { report, signal, mountFrom: from, chunkSize, blobReady });
  });
  for (const { descriptor, bytes, kind } of manifests) {
    const isTop = descriptor.digest === target.digest;
    const name = isTop && reference.tag !== undefined ? reference.tag : descriptor.digest;
    const { subjectSeen } = await putManifest(place, name, { descriptor, bytes }, options.signal);
    if (kind === "manifest" && !subjectSeen) await addToFallbackTag(place, { descriptor, bytes });
    report({ type: "manifest", digest: descriptor.digest, status: "pushed" });
  }
  return { name: formatReference(reference), target };
}

async function whatToPush(
  store: ImageStore,
  record: ImageRecord,
  place: Place,
  options: PushOptions,
  report: Report,
): Promise<Descriptor> {
  const { target } = record;
  if (options.platform === undefined && (await isWhole(store, target, place, options.signal))) return target;
  const summary = (await store.list()).find((it) => it.target.digest === target.digest);
  const wanted = options.platform ?? hostPlatform();
  const here = summary?.platforms ?? [];
  const chosen = choosePlatform(here, (it) => it.platform, wanted) ?? (options.platform ? undefined : here[0]);
  const image = chosen && (await store.resolve(chosen.digest));
  if (!image) {
    throw new AegisError("NO_SUCH_PLATFORM", "the image is not in the store for the wanted platform", {
      hint: "pull it for this platform first",
    });
  }
  if (image.target.digest !== target.digest) report({ type: "partial", platform: platformOf(image.config) });
  const { mediaType, digest, size } = image.target;
  return { mediaType, digest, size };
}

/** Whether a target can be pushed as it is: each manifest below it is in the store, or at the registry. */
async function isWhole(
  store: ImageStore,
  target: Descriptor,
  place: Place,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (!(await store.hasBlob(target.digest))) return await hasManifest(place, target.digest, signal);
  const bytes = await store.readBlob(target.digest);
  if (documentKind(bytes, target.mediaType) === "manifest") return true;
  for (const child of parseIndex(bytes).manifests) if (!(await isWhole(store, child, place, signal))) return false;
  return true;
}

interface ManifestToPush {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
  readonly kind: "index" | "manifest";
}

/** Manifests that are here, children before parents. */
async function collectManifests(store: ImageStore, target: Descriptor, depth = 0): Promise<readonly ManifestToPush[]> {
  if (depth > 4 || !(await store.hasBlob(target.digest))) return [];
  const bytes = await store.readBlob(target.digest);
  const kind = documentKind(bytes, target.mediaType);
  const below: ManifestToPush[] = [];
  if (kind === "index") {
    for (const child of parseIndex(bytes).manifests) below.push(...(await collectManifests(store, child, depth + 1)));
  }
  return [...below, { descriptor: target, bytes, kind }];
}

/** For each blob, other repositories of the same registry whose images in the store have it too. */
async function siblingRepositories(
  store: ImageStore,
  reference: Reference,
  wanted: ReadonlySet<Digest>,
): Promise<ReadonlyMap<Digest, readonly string[]>> {
  const found = new Map<Digest, string[]>();
  for (const { names, platforms } of await store.list()) {
    const paths = names
      .map((name) => parseReference(name))
      .filter((it) => it.domain === reference.domain && it.path !== reference.path)
      .map((it) => it.path);
    if (paths.length === 0) continue;
    for (const { digest } of platforms) {
      const { layers, config } = parseManifest(await store.readBlob(digest));
      for (const blob of [...layers, config]) {
        if (wanted.has(blob.digest))
          found.set(blob.digest, [...new Set([...(found.get(blob.digest) ?? []), ...paths])]);
      }
    }
  }
  return found;
}

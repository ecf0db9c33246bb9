/**
 * Image archives into the store: OCI layouts in a tar, `docker save` of every age that has a manifest.json, and both in
 * one. What the archive holds under digests keeps them: config and manifest bytes are never rewritten.
 */
import type { DiffId } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import { documentKind, encodeDocument, parseConfig, parseIndex, parseManifest } from "../documents.js";
import { readLayer } from "../layers.js";
import { layerTypes, mediaTypes } from "../media-types.js";
import { normaliseReference } from "../references.js";
import { nameAnnotation, refNameAnnotation } from "../store/layout.js";
import type { ImageStore } from "../store.js";
import { decodeTar, discardTree } from "../tar/decode.js";
import type { Descriptor, ImageManifest } from "../types.js";
import { createReceiver, type Received } from "./receive.js";
import { openTarStream } from "./source.js";

export interface LoadedImage {
  readonly target: Descriptor;
  /** Normalised; empty when the archive names none. */
  readonly names: readonly string[];
}

/**
 * Loads every image of an archive. Nothing is named before everything has been verified.
 * @throws AegisError ARCHIVE_UNKNOWN, IMAGE_INVALID, IMAGE_INCOMPLETE, DIGEST_MISMATCH, TAR_CORRUPT,
 *   COMPRESSION_CORRUPT, COMPRESSION_UNSUPPORTED
 */
export async function loadArchive(
  store: ImageStore,
  source: AsyncIterable<Uint8Array>,
): Promise<readonly LoadedImage[]> {
  const { tar } = await openTarStream(source);
  const receiver = createReceiver(store);
  let received: Received;
  try {
    await decodeTar(tar, receiver);
    received = await receiver.finish();
  } finally {
    await receiver.abort();
  }
  const index = received.document("index.json");
  const list = received.document("manifest.json");
  if (index) return await loadLayout(store, index);
  if (list) return await loadDocker(store, list, received);
  throw new AegisError("ARCHIVE_UNKNOWN", "this is neither an OCI nor a docker image archive", {
    hint: "a root filesystem's tarball is taken in with `aegis import FILE NAME`",
  });
}

/** Enters what an index.json lists, whose blobs are in the store. */
export async function loadLayout(store: ImageStore, index: Uint8Array): Promise<readonly LoadedImage[]> {
  const images = new Map<string, { readonly target: Descriptor; readonly names: Set<string> }>();
  for (const descriptor of parseIndex(index).manifests) {
    await checkComplete(store, descriptor);
    const { annotations, ...bare } = descriptor;
    const image = images.get(bare.digest) ?? { target: bare, names: new Set<string>() };
    const name = nameOf(annotations);
    if (name !== undefined) image.names.add(name);
    images.set(bare.digest, image);
  }
  return await enter(
    store,
    [...images.values()].map(({ target, names }) => ({ target, names: [...names] })),
  );
}

async function enter(store: ImageStore, images: readonly LoadedImage[]): Promise<readonly LoadedImage[]> {
  for (const { target, names } of images) await store.putTarget(target, names);
  return images;
}

/** A bare tag (`latest`) in the ref name says nothing about the repository, so it is no name. */
function nameOf(annotations: Readonly<Record<string, string>> | undefined): string | undefined {
  const full = annotations?.[nameAnnotation];
  if (full) return normaliseReference(full);
  const short = annotations?.[refNameAnnotation];
  return short && /[/:@]/.test(short) ? normaliseReference(short) : undefined;
}

/** Every manifest that is here must have its config and layers; of an index, at least one must be here. */
export async function checkComplete(store: ImageStore, target: Descriptor, depth = 0): Promise<boolean> {
  if (!(await store.hasBlob(target.digest))) {
    if (depth === 0) throw incomplete(target.digest);
    return false;
  }
  const bytes = await store.readBlob(target.digest);
  if (documentKind(bytes, target.mediaType) === "index") {
    let present = 0;
    for (const child of depth > 3 ? [] : parseIndex(bytes).manifests) {
      if (await checkComplete(store, child, depth + 1)) present++;
    }
    if (present === 0 && depth === 0) throw incomplete(target.digest);
    return present > 0;
  }
  const manifest = parseManifest(bytes);
  for (const child of [manifest.config, ...manifest.layers]) {
    if (!child.urls?.length && !(await store.hasBlob(child.digest))) throw incomplete(child.digest);
  }
  return true;
}

const incomplete = (digest: string): AegisError =>
  new AegisError("IMAGE_INCOMPLETE", `the image lacks the blob ${digest}`, {
    hint: "the archive is incomplete; save it again",
    details: { digest },
  });

interface DockerItem {
  readonly Config: string;
  readonly RepoTags?: readonly string[] | null;
  readonly Layers: readonly string[];
}

/** Docker image spec 1.2 "Combined Image JSON + Filesystem Changeset Format": manifest.json. */
async function loadDocker(store: ImageStore, list: Buffer, received: Received): Promise<readonly LoadedImage[]> {
  const images: LoadedImage[] = [];
  for (const item of parseList(list)) {
    const names = (item.RepoTags ?? []).map(normaliseReference);
    images.push({ target: await assemble(store, item, received), names });
  }
  return await enter(store, images);
}

function parseList(bytes: Buffer): readonly DockerItem[] {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new AegisError("IMAGE_INVALID", "the archive's manifest.json is not JSON", { cause: error });
  }
  const texts = (it: unknown): it is readonly string[] => Array.isArray(it) && it.every((t) => typeof t === "string");
  const items = Array.isArray(value) ? (value as Partial<DockerItem>[]) : [];
  const good = items.every((it) => it && typeof it.Config === "string" && texts(it.Layers) && texts(it.RepoTags ?? []));
  if (items.length === 0 || !good) {
    throw new AegisError("IMAGE_INVALID", "the archive's manifest.json is not a list of images");
  }
  return items as readonly DockerItem[];
}

async function assemble(store: ImageStore, item: DockerItem, received: Received): Promise<Descriptor> {
  const held = received.blob(item.Config);
  const bytes = held ? await store.readBlob(held.digest) : received.document(item.Config);
  if (!bytes) throw incomplete(item.Config);
  const layers = item.Layers.map((path): Descriptor => {
    const blob = received.blob(path);
    if (!blob) throw incomplete(path);
    return { mediaType: layerTypes[blob.compression], digest: blob.digest, size: blob.size };
  });
  const config = await store.writeBlob(bytes, { mediaType: mediaTypes.ociConfig });
  const manifest: ImageManifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers };
  const { diff_ids } = parseConfig(bytes, manifest).rootfs;
  for (const [i, layer] of layers.entries()) await checkLayer(store, layer, diff_ids[i]!);
  return await store.writeBlob(encodeDocument(manifest, mediaTypes.ociManifest).bytes, {
    mediaType: mediaTypes.ociManifest,
  });
}

/** Layers of docker archives have no digests of their own: the config's diff ids vouch for them. */
async function checkLayer(store: ImageStore, layer: Descriptor, diffId: DiffId): Promise<void> {
  if (layer.mediaType === mediaTypes.ociLayer && (layer.digest as string) === diffId) return;
  await readLayer(store, layer, discardTree, { diffId });
}

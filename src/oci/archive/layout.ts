/** OCI image layouts in directories of their own, as `oci:DIR[:NAME]` names them: read into the store, written from it. */
import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import type { Digest } from "../../support/brands.js";
import { AegisError, hasErrno } from "../../support/errors.js";
import { type Artifact, checkConfigSize } from "../artifact.js";
import { isDigest } from "../digests.js";
import { documentKind, parseIndex, parseManifest } from "../documents.js";
import { readChunks } from "../read-chunks.js";
import { formatReference, parseReference } from "../references.js";
import { openBlob, readBlob } from "../store/blobs.js";
import { reachable } from "../store/images.js";
import {
  initialiseLayout,
  type LayoutEntry,
  nameAnnotation,
  refNameAnnotation,
  updateLayout,
} from "../store/layout.js";
import { type ImageStore, imageNotFound, openImageStore } from "../store.js";
import type { Descriptor } from "../types.js";
import type { LayoutReference } from "./layout-reference.js";
import { checkComplete, type LoadedImage } from "./load.js";

/** True for a directory that holds an OCI image layout. */
export async function isLayout(directory: string): Promise<boolean> {
  return await stat(path.join(directory, "oci-layout")).then(
    () => true,
    (error) => {
      if (hasErrno(error, "ENOENT", "ENOTDIR")) return false;
      throw error;
    },
  );
}

/**
 * Copies images of a layout into the store, verified, and enters them under the names they have there (or under none).
 * @throws AegisError LAYOUT_INVALID, IMAGE_NOT_FOUND, IMAGE_INCOMPLETE, IMAGE_INVALID, DIGEST_MISMATCH
 */
export async function loadLayoutDirectory(
  store: ImageStore,
  { directory, name }: LayoutReference,
  options: { readonly keepNames?: boolean } = {},
): Promise<readonly LoadedImage[]> {
  const chosen = chooseEntries(await readIndex(directory), directory, name);
  const images = new Map<Digest, LoadedImage>();
  for (const descriptor of chosen) {
    await copyBlobs(store, directory, descriptor);
    await checkComplete(store, descriptor);
    const { annotations, ...target } = descriptor;
    const before = images.get(target.digest)?.names ?? [];
    images.set(target.digest, { target, names: [...before, ...namesOf(annotations)] });
  }
  const keepNames = options.keepNames ?? true;
  for (const { target, names } of images.values()) await store.putTarget(target, keepNames ? names : []);
  return [...images.values()];
}

async function readIndex(directory: string): Promise<readonly Descriptor[]> {
  if (!(await isLayout(directory))) {
    throw new AegisError("LAYOUT_INVALID", `${directory} is not an OCI image layout`, {
      hint: "it lacks the file oci-layout",
    });
  }
  return parseIndex(await readFile(path.join(directory, "index.json"))).manifests;
}

function chooseEntries(all: readonly Descriptor[], directory: string, name: string | undefined): readonly Descriptor[] {
  if (name === undefined) return all;
  const full = normalised(name);
  const found = all.filter(
    ({ digest, annotations }) =>
      digest === name || annotations?.[refNameAnnotation] === name || annotations?.[nameAnnotation] === full,
  );
  if (found.length > 0) return found;
  const names = all.map((it) => it.annotations?.[refNameAnnotation]).filter((it) => it !== undefined);
  throw new AegisError("IMAGE_NOT_FOUND", `the layout ${directory} has no image ${name}`, {
    hint: names.length > 0 ? `it has ${names.join(", ")}` : "its images have no names; leave the name out",
  });
}

function normalised(name: string): string | undefined {
  try {
    return formatReference(parseReference(name));
  } catch {
    // A layout may use any text as a ref name.
    return undefined;
  }
}

function namesOf(annotations: Readonly<Record<string, string>> | undefined): readonly string[] {
  const full = annotations?.[nameAnnotation];
  const short = annotations?.[refNameAnnotation];
  const name = full ?? (short && /[/:@]/.test(short) ? short : undefined);
  const normal = name === undefined ? undefined : normalised(name);
  return normal === undefined ? [] : [normal];
}

/** Copies what `target` leads to, as far as the layout has it. */
async function copyBlobs(store: ImageStore, directory: string, target: Descriptor, depth = 0): Promise<void> {
  if (!(await copyBlob(store, directory, target)) || depth > 4) return;
  const bytes = await readBlob(store.root, target.digest);
  if (documentKind(bytes, target.mediaType) === "index") {
    for (const child of parseIndex(bytes).manifests) await copyBlobs(store, directory, child, depth + 1);
    return;
  }
  const manifest = parseManifest(bytes);
  for (const blob of [manifest.config, ...manifest.layers]) await copyBlob(store, directory, blob);
}

/** False when the layout lacks the blob. */
async function copyBlob(store: ImageStore, directory: string, descriptor: Descriptor): Promise<boolean> {
  if (await store.hasBlob(descriptor.digest)) return true;
  const file = await openBlob(directory, descriptor.digest).catch((error) => {
    if (error instanceof AegisError && error.code === "BLOB_MISSING") return undefined;
    throw error;
  });
  if (!file) return false;
  try {
    await store.writeBlob(readChunks(file), { mediaType: descriptor.mediaType, expected: descriptor });
    return true;
  } finally {
    await file.close();
  }
}

/**
 * One manifest of a layout, by name or digest; nothing is copied before it is wanted.
 * @throws AegisError LAYOUT_INVALID, IMAGE_NOT_FOUND, BLOB_MISSING, IMAGE_INVALID, BLOB_TOO_LARGE
 */
export async function openLayoutArtifact(store: ImageStore, directory: string, name: string): Promise<Artifact> {
  const digest = isDigest(name) ? name : chooseEntries(await readIndex(directory), directory, name)[0]!.digest;
  const manifest = parseManifest(await readBlob(directory, digest));
  checkConfigSize(manifest);
  return {
    manifest,
    config: await readBlob(directory, manifest.config.digest),
    async fetch(layer) {
      if (await copyBlob(store, directory, layer)) return;
      throw new AegisError("BLOB_MISSING", `the layout ${directory} lacks the blob ${layer.digest}`);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/**
 * Adds images of the store to a layout, which is made when it is not there. With a `name` one image is entered under it, else
 * each under the name it was asked for.
 * @throws AegisError IMAGE_NOT_FOUND, LAYOUT_INVALID
 */
export async function saveLayoutDirectory(
  store: ImageStore,
  references: readonly string[],
  { directory, name }: LayoutReference,
): Promise<void> {
  const entries: LayoutEntry[] = [];
  for (const text of references) {
    const record = await store.find(text);
    if (!record) throw imageNotFound(text);
    entries.push({ target: record.target, name: name ?? record.names.find((it) => it === normalised(text)) });
  }
  await addToLayout(store, directory, entries);
}

/**
 * Adds manifests and indexes of the store to a layout; what had one of their names there loses it. `refName` gives the name
 * by which skopeo picks an image, the full one unless told.
 */
export async function addToLayout(
  store: ImageStore,
  directory: string,
  added: readonly LayoutEntry[],
  refName?: (name: string) => string,
): Promise<void> {
  await initialiseLayout(directory);
  const layout = await openImageStore(directory);
  try {
    for (const { target, name } of added) {
      for (const digest of await reachable(store.root, target.digest, target.mediaType)) {
        if (await store.hasBlob(digest)) await copyInto(layout, store, digest);
      }
      await enter(directory, target, name, refName);
    }
  } finally {
    await layout.close();
  }
}

/**
 * Enters a manifest of the store under a name of a layout, in the place of what had the name; what then has no name goes.
 * @param layerReady awaited before a layer that the layout lacks is read from the store
 * @throws AegisError LAYOUT_INVALID, BLOB_MISSING
 */
export async function replaceInLayout(
  store: ImageStore,
  target: Descriptor,
  { directory, name }: Required<LayoutReference>,
  layerReady: (layer: Descriptor) => Promise<void>,
): Promise<void> {
  await initialiseLayout(directory);
  const layout = await openImageStore(directory);
  try {
    const { config, layers } = parseManifest(await store.readBlob(target.digest));
    for (const layer of layers) {
      if (await layout.hasBlob(layer.digest)) continue;
      await layerReady(layer);
      await copyInto(layout, store, layer.digest);
    }
    for (const { digest } of [config, target]) await copyInto(layout, store, digest);
    await enter(directory, target, name);
    await layout.collect();
  } finally {
    await layout.close();
  }
}

async function copyInto(layout: ImageStore, store: ImageStore, digest: Digest): Promise<void> {
  if (await layout.hasBlob(digest)) return;
  const file = await store.openBlob(digest);
  try {
    await layout.writeBlob(readChunks(file), { mediaType: "application/octet-stream", expected: { digest } });
  } finally {
    await file.close();
  }
}

async function enter(
  directory: string,
  target: Descriptor,
  name: string | undefined,
  refName?: (name: string) => string,
): Promise<void> {
  const stays = (it: LayoutEntry) => it.name !== name || (name === undefined && it.target.digest !== target.digest);
  await updateLayout(directory, (entries) => [...entries.filter(stays), { target, name }], refName);
}

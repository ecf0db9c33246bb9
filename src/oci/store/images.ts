/** From entries of the layout to images: reading documents, choosing platforms, finding by name or id. */
import type { Digest } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import { isDigest } from "../digests.js";
import { documentKind, parseConfig, parseIndex, parseManifest } from "../documents.js";
import { isImageConfigType } from "../media-types.js";
import { choosePlatform, hostPlatform } from "../platforms.js";
import { parseReference, repositoryOf } from "../references.js";
import type { Descriptor, ImageConfig, ImageManifest, Platform, StoredImage } from "../types.js";
import { hasBlob, readBlob } from "./blobs.js";
import type { LayoutEntry } from "./layout.js";

/** All names of one target, which is a manifest or an index of several platforms. */
export interface ImageRecord {
  readonly target: Descriptor;
  /** Normalised; empty for a dangling image. */
  readonly names: readonly string[];
}

/** What a platform of a record holds. */
export interface PlatformImage {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}

export function recordsOf(entries: readonly LayoutEntry[]): readonly ImageRecord[] {
  const records = new Map<Digest, { target: Descriptor; names: string[] }>();
  for (const { target, name } of entries) {
    const record = records.get(target.digest) ?? { target, names: [] };
    if (name !== undefined && !record.names.includes(name)) record.names.push(name);
    records.set(target.digest, record);
  }
  return [...records.values()];
}

/**
 * Finds a record by name, by digest, or by the beginning of its id.
 * @throws AegisError AMBIGUOUS_ID
 */
export function findRecord(records: readonly ImageRecord[], text: string): ImageRecord | undefined {
  if (isDigest(text)) return records.find((record) => record.target.digest === text);
  return findByName(records, text) ?? findById(records, text);
}

function findByName(records: readonly ImageRecord[], text: string): ImageRecord | undefined {
  const exact = records.find((record) => record.names.includes(text));
  if (exact || /^[0-9a-f]{64}$/.test(text)) return exact;
  const reference = parseReference(text);
  const repository = repositoryOf(reference);
  if (reference.digest !== undefined) {
    return records.find(
      (record) =>
        record.target.digest === reference.digest &&
        record.names.some((name) => repositoryOf(parseReference(name)) === repository),
    );
  }
  return records.find((record) => record.names.includes(`${repository}:${reference.tag}`));
}

function findById(records: readonly ImageRecord[], text: string): ImageRecord | undefined {
  const prefix = text.startsWith("sha256:") ? text : `sha256:${text}`;
  if (!/^sha256:[0-9a-f]{2,64}$/.test(prefix)) return undefined;
  const found = records.filter((record) => record.target.digest.startsWith(prefix));
  if (found.length > 1) {
    throw new AegisError("AMBIGUOUS_ID", `"${text}" is the beginning of ${found.length} image ids`, {
      hint: "write more digits of it",
      details: { ids: found.map((record) => record.target.digest) },
    });
  }
  return found[0];
}

/** Manifests below a target: itself, or the index's, nested ones included; only those whose blobs are here. */
export async function presentManifests(root: string, target: Descriptor, depth = 0): Promise<readonly Descriptor[]> {
  if (depth > 3 || !(await hasBlob(root, target.digest))) return [];
  const bytes = await readBlob(root, target.digest);
  if (documentKind(bytes, target.mediaType) === "manifest") return [target];
  const below: Descriptor[] = [];
  for (const descriptor of parseIndex(bytes).manifests)
    below.push(...(await presentManifests(root, descriptor, depth + 1)));
  return below;
}

/** The runnable images among `manifests`: attestations and other artifacts are left out. */
export async function platformImages(
  root: string,
  manifests: readonly Descriptor[],
): Promise<readonly PlatformImage[]> {
  const images: PlatformImage[] = [];
  for (const descriptor of manifests) {
    const manifest = parseManifest(await readBlob(root, descriptor.digest));
    const isAttestation = descriptor.annotations?.["vnd.docker.reference.type"] !== undefined;
    if (isAttestation || !isImageConfigType(manifest.config.mediaType)) continue;
    if (!(await hasBlob(root, manifest.config.digest))) continue;
    images.push({ descriptor, manifest, config: parseConfig(await readBlob(root, manifest.config.digest), manifest) });
  }
  return images;
}

/** The image of a record that fits `platform` (the host's when undefined, or the only one there is). */
export function chooseImage(
  record: ImageRecord,
  images: readonly PlatformImage[],
  platform: Platform | undefined,
): StoredImage | undefined {
  const wanted = platform ?? hostPlatform();
  const only = platform === undefined && images.length === 1 ? images[0] : undefined;
  const chosen = choosePlatform(images, (image) => image.config, wanted) ?? only;
  if (!chosen) return undefined;
  return { target: chosen.descriptor, manifest: chosen.manifest, config: chosen.config, names: record.names };
}

/** Every digest that a present manifest or index leads to, itself included. */
export async function reachable(root: string, digest: Digest, mediaType?: string): Promise<ReadonlySet<Digest>> {
  const found = new Set<Digest>();
  const visit = async (at: Digest, type: string | undefined, depth: number): Promise<void> => {
    if (found.has(at) || depth > 4) return;
    found.add(at);
    if (!(await hasBlob(root, at))) return;
    const bytes = await readBlob(root, at);
    if (documentKind(bytes, type) === "index") {
      for (const child of parseIndex(bytes).manifests) await visit(child.digest, child.mediaType, depth + 1);
      return;
    }
    const manifest = parseManifest(bytes);
    for (const child of [manifest.config, ...manifest.layers]) found.add(child.digest);
  };
  await visit(digest, mediaType, 0);
  return found;
}

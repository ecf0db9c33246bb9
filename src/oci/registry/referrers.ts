/**
 * What refers to an image: signatures, attestations. Distribution spec 1.1, "Listing Referrers", and "Referrers Tag Schema"
 * for registries that lack the API.
 */
import type { Digest } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import { encodeDocument, maxDocumentSize, parseIndex, parseManifest } from "../documents.js";
import { mediaTypes } from "../media-types.js";
import type { Descriptor, ImageIndex } from "../types.js";
import { type Fetched, fetchManifest, putManifest } from "./manifests.js";
import type { Place } from "./session.js";

const fallbackTag = (digest: Digest): string => digest.replace(":", "-");

/** Descriptors of everything whose subject is `digest`, of one artifact type if it is given. */
export async function listReferrers(
  place: Place,
  digest: Digest,
  artifactType?: string,
): Promise<readonly Descriptor[]> {
  const query = artifactType === undefined ? "" : `?artifactType=${encodeURIComponent(artifactType)}`;
  const answer = await place.call(`referrers/${digest}${query}`, { headers: { accept: mediaTypes.ociIndex } });
  const isIndex = answer.header("content-type")?.startsWith(mediaTypes.ociIndex) ?? false;
  let found: readonly Descriptor[];
  if (answer.status === 200 && isIndex) {
    found = parseIndex(await answer.bytes(maxDocumentSize)).manifests;
  } else {
    await answer.discard();
    found = (await fallbackIndex(place, digest))?.manifests ?? [];
  }
  // A registry may ignore the filter, and the tag schema has none.
  return artifactType === undefined ? found : found.filter((it) => it.artifactType === artifactType);
}

async function fallbackIndex(place: Place, digest: Digest): Promise<ImageIndex | undefined> {
  try {
    return parseIndex((await fetchManifest(place, fallbackTag(digest))).bytes);
  } catch (error) {
    if (error instanceof AegisError && error.code === "REGISTRY_NOT_FOUND") return undefined;
    throw error;
  }
}

/** Enters a pushed manifest into the tag of its subject, for registries that don't keep referrers themselves. */
export async function addToFallbackTag(place: Place, pushed: Fetched): Promise<void> {
  const manifest = parseManifest(pushed.bytes);
  if (!manifest.subject) return;
  const index = await fallbackIndex(place, manifest.subject.digest);
  if (index?.manifests.some((it) => it.digest === pushed.descriptor.digest)) return;
  const entry: Descriptor = {
    ...pushed.descriptor,
    artifactType: manifest.artifactType ?? manifest.config.mediaType,
    ...(manifest.annotations ? { annotations: manifest.annotations } : {}),
  };
  const updated: ImageIndex = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [...(index?.manifests ?? []), entry],
  };
  await putManifest(place, fallbackTag(manifest.subject.digest), encodeDocument(updated, mediaTypes.ociIndex));
}

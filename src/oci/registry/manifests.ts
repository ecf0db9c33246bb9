/** Manifests over the wire. Distribution spec 1.1, "Pulling manifests" and "Pushing manifests". */
import type { Digest } from "../../support/brands.js";
import { digestOf, parseDigest } from "../digests.js";
import { documentKind, maxDocumentSize } from "../documents.js";
import { mediaTypes } from "../media-types.js";
import { checkIdentity } from "../store/blobs.js";
import type { Descriptor } from "../types.js";
import { protocolError } from "./errors.js";
import type { Place } from "./session.js";

const accept = [mediaTypes.ociIndex, mediaTypes.dockerIndex, mediaTypes.ociManifest, mediaTypes.dockerManifest].join(
  ", ",
);

export interface Fetched {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/**
 * A manifest or index by tag or digest, verified against what is known of it.
 * @throws AegisError REGISTRY_*, DIGEST_MISMATCH, SIZE_MISMATCH
 */
export async function fetchManifest(
  place: Place,
  reference: string,
  expected: { readonly digest?: Digest | undefined; readonly size?: number | undefined } = {},
  signal?: AbortSignal,
): Promise<Fetched> {
  const answer = await place.call(`manifests/${reference}`, { headers: { accept }, ...(signal ? { signal } : {}) });
  if (answer.status !== 200) throw await place.refuse(answer);
  const bytes = await answer.bytes(maxDocumentSize);
  const found = { digest: digestOf(bytes), size: bytes.length };
  checkIdentity(found, expected);
  const announced = answer.header("docker-content-digest");
  if (announced?.startsWith("sha256:")) checkIdentity(found, { digest: parseDigest(announced) });
  const type = answer.header("content-type")?.split(";")[0]?.trim();
  const kind = documentKind(bytes, type);
  const fallback = kind === "index" ? mediaTypes.ociIndex : mediaTypes.ociManifest;
  return { bytes, descriptor: { mediaType: type && accept.includes(type) ? type : fallback, ...found } };
}

/** Whether the registry has the manifest. */
export async function hasManifest(place: Place, digest: Digest, signal?: AbortSignal): Promise<boolean> {
  const answer = await place.call(`manifests/${digest}`, {
    method: "HEAD",
    headers: { accept },
    ...(signal ? { signal } : {}),
  });
  await answer.discard();
  return answer.status === 200;
}

/** Pushes a manifest under a tag or its digest; true when the registry took note of its subject. */
export async function putManifest(
  place: Place,
  reference: string,
  { descriptor, bytes }: Fetched,
  signal?: AbortSignal,
): Promise<{ readonly subjectSeen: boolean }> {
  const answer = await place.call(`manifests/${reference}`, {
    method: "PUT",
    headers: { "content-type": descriptor.mediaType },
    body: () => bytes,
    ...(signal ? { signal } : {}),
  });
  if (answer.status !== 201 && answer.status !== 200) throw await place.refuse(answer);
  await answer.discard();
  const stored = answer.header("docker-content-digest");
  if (stored?.startsWith("sha256:") && stored !== descriptor.digest) {
    throw protocolError(answer.url, `it stored the manifest as ${stored} instead of ${descriptor.digest}`);
  }
  return { subjectSeen: answer.header("oci-subject") !== undefined };
}

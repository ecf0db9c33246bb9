/** A layer's blob on its way to a tar: decompressed and hashed in one pass, wherever that happens. */
import { createHash } from "node:crypto";
import type { DiffId, Digest } from "../../support/brands.js";
import { decompress } from "../compression/decompress.js";
import type { Compression } from "../media-types.js";

/** What is known of a blob once it was decoded to its end. */
export interface BlobFacts {
  readonly diffId: DiffId;
  /** Of the blob itself, where it was asked for or comes for free. */
  readonly digest: Digest | undefined;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
}

export interface DecodeRequest {
  readonly compression: Compression;
  /** Whether the compressed bytes are hashed too. */
  readonly hashBlob: boolean;
}

/**
 * The blob's tar, in pieces that are valid until the next one is asked for. The generator's value are the facts.
 * @throws AegisError COMPRESSION_CORRUPT, and whatever the source throws
 */
export async function* decodeBlob(
  source: AsyncIterable<Uint8Array>,
  { compression, hashBlob }: DecodeRequest,
): AsyncGenerator<Uint8Array, BlobFacts> {
  const tarHash = createHash("sha256");
  const blobHash = hashBlob && compression !== "none" ? createHash("sha256") : undefined;
  let size = 0;
  for await (const chunk of decompress(blobHash ? hashed(source, blobHash) : source, compression)) {
    tarHash.update(chunk);
    size += chunk.length;
    yield chunk;
  }
  const diffId = `sha256:${tarHash.digest("hex")}` as DiffId;
  if (compression === "none") return { diffId, digest: diffId as string as Digest, size };
  return { diffId, digest: blobHash && (`sha256:${blobHash.digest("hex")}` as Digest), size };
}

async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hash: { update(bytes: Uint8Array): unknown },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

/** A stored layer in another compression: the tar stays as it is, byte for byte, and so does its diff id. */
import { createHash } from "node:crypto";
import type { DiffId } from "../support/brands.js";
import { decompress } from "./compression/decompress.js";
import { checkDiffId, createCompressor } from "./layers.js";
import { type Compression, layerCompression, layerTypes } from "./media-types.js";
import { readChunks } from "./read-chunks.js";
import type { ImageStore } from "./store.js";
import type { Descriptor } from "./types.js";

export interface RecompressOptions {
  readonly compression: Compression;
  readonly level?: number | undefined;
  readonly diffId: DiffId;
  readonly signal?: AbortSignal | undefined;
}

/** @throws AegisError BLOB_MISSING, DIFF_ID_MISMATCH, COMPRESSION_CORRUPT, ZSTD_UNAVAILABLE; then nothing is kept */
export async function recompressLayer(
  store: Pick<ImageStore, "openBlob" | "createBlob">,
  descriptor: Descriptor,
  options: RecompressOptions,
): Promise<Descriptor> {
  const hash = createHash("sha256");
  const blob = store.createBlob();
  const compressor = await createCompressor((chunk) => blob.write(chunk), options);
  const file = await store.openBlob(descriptor.digest);
  try {
    const source = decompress(readChunks(file, options.signal), layerCompression(descriptor.mediaType));
    for await (const chunk of source) {
      hash.update(chunk);
      compressor.write(chunk);
      await (compressor.drain() ?? blob.drain());
    }
    await compressor.end();
    checkDiffId(`sha256:${hash.digest("hex")}` as DiffId, options.diffId);
    return { mediaType: layerTypes[options.compression], ...(await blob.commit()) };
  } finally {
    await file.close();
    await compressor.abort();
    await blob.abort();
  }
}

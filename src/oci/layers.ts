/** Layers: trees to blobs of the store and back, streaming, verified. OCI image spec, layer.md. */
import { createHash } from "node:crypto";
import type { DiffId } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { TreeEntry, TreeSink } from "../support/tree.js";
import { type Compressor, createGzip } from "./compression/gzip.js";
import { createZstd } from "./compression/zstd.js";
import { decodeBlob } from "./decode/blob.js";
import type { DecodeThreads } from "./decode/threads.js";
import { type Compression, layerCompression, layerTypes } from "./media-types.js";
import { readChunks } from "./read-chunks.js";
import { damaged } from "./store/blobs.js";
import type { ImageStore } from "./store.js";
import { createTarDecoder } from "./tar/decode.js";
import { createTarEncoder } from "./tar/encode.js";
import type { Descriptor } from "./types.js";
import { isAufsMetadata } from "./whiteouts.js";

export interface ReadLayerOptions {
  readonly signal?: AbortSignal | undefined;
  /** The diff id that the image's config promises. */
  readonly diffId?: DiffId | undefined;
  /** Large blobs are decoded there, from the moment the layer is opened. */
  readonly threads?: DecodeThreads | undefined;
  /** Decoded bytes that a thread may be ahead. */
  readonly aheadBytes?: number | undefined;
}

export interface LayerIdentity {
  readonly diffId: DiffId;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
}

/** A stored layer that is open for one reading. */
export interface OpenLayer extends AsyncDisposable {
  /**
   * Decodes into `sink`. What that has taken counts only once the function that this resolves to has resolved, too: a large
   * layer's hash may still be on its way.
   * @throws AegisError as `readLayer` does
   */
  read(sink: TreeSink): Promise<() => Promise<LayerIdentity>>;
}

/** A smaller blob is decoded before a thread has started. */
const smallBlob = 2 << 20;

/** Opens a layer and, where a thread decodes it, starts that. @throws AegisError BLOB_MISSING, LAYER_TYPE_UNKNOWN */
export async function openLayer(
  store: Pick<ImageStore, "openBlob">,
  descriptor: Descriptor,
  { signal, diffId, threads, aheadBytes = 4 << 20 }: ReadLayerOptions = {},
): Promise<OpenLayer> {
  // A known diff id vouches for the content; without one the blob's own digest has to.
  const request = { compression: layerCompression(descriptor.mediaType), hashBlob: diffId === undefined };
  const file = await store.openBlob(descriptor.digest);
  const thread = descriptor.size < smallBlob ? undefined : threads?.decode(file, { ...request, aheadBytes });
  return {
    async read(sink) {
      const decoder = createTarDecoder(withoutAufsMetadata(sink));
      const take = (piece: Uint8Array) => {
        signal?.throwIfAborted();
        decoder.write(piece);
        return sink.drain();
      };
      const known = thread
        ? await forEachPiece(thread.pieces(), take)
        : await forEachPiece(decodeBlob(readChunks(file), request), take);
      decoder.end();
      return async () => {
        const facts = typeof known === "function" ? await known() : known;
        if (facts.digest !== undefined && facts.digest !== descriptor.digest) throw damaged(descriptor.digest);
        checkDiffId(facts.diffId, diffId);
        return { diffId: facts.diffId, size: facts.size };
      };
    },
    async [Symbol.asyncDispose]() {
      await thread?.stop();
      await file.close();
    },
  };
}

async function forEachPiece<T>(
  pieces: AsyncGenerator<Uint8Array, T>,
  take: (piece: Uint8Array) => Promise<void> | undefined,
): Promise<T> {
  try {
    for (;;) {
      const { value, done } = await pieces.next();
      if (done) return value;
      const full = take(value);
      if (full) await full;
    }
  } catch (error) {
    await pieces.return(undefined as T);
    throw error;
  }
}

/**
 * Decodes a stored layer into `sink`. What the sink has taken counts only once this resolves: digests are known at the end.
 * @throws AegisError BLOB_MISSING, BLOB_DAMAGED, DIFF_ID_MISMATCH, TAR_CORRUPT, TAR_UNSUPPORTED, COMPRESSION_CORRUPT,
 *   LAYER_TYPE_UNKNOWN, and whatever the sink throws
 */
export async function readLayer(
  store: Pick<ImageStore, "openBlob">,
  descriptor: Descriptor,
  sink: TreeSink,
  options: ReadLayerOptions = {},
): Promise<LayerIdentity> {
  await using layer = await openLayer(store, descriptor, options);
  const verified = await layer.read(sink);
  return await verified();
}

/** @throws AegisError DIFF_ID_MISMATCH */
export function checkDiffId(found: DiffId, expected: DiffId | undefined): void {
  if (expected === undefined || found === expected) return;
  throw new AegisError("DIFF_ID_MISMATCH", `a layer's content has the digest ${found}, its image says ${expected}`, {
    hint: "the image is inconsistent; make or fetch it again",
    details: { found, expected },
  });
}

function withoutAufsMetadata(sink: TreeSink): TreeSink {
  let dropping = false;
  return {
    entry(entry) {
      dropping = isAufsMetadata(entry.path);
      if (!dropping) sink.entry(entry);
    },
    data(chunk) {
      if (!dropping) sink.data(chunk);
    },
    hole(length) {
      if (!dropping) sink.hole(length);
    },
    drain: () => sink.drain(),
  };
}

export interface WriteLayerOptions {
  readonly compression: Compression;
  /** gzip 1 to 9 (6), zstd 1 to 19 (3). */
  readonly level?: number | undefined;
  /** SOURCE_DATE_EPOCH, seconds: no entry is younger than this. */
  readonly modifiedClamp?: number | undefined;
}

export interface WrittenLayer {
  readonly descriptor: Descriptor;
  readonly diffId: DiffId;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
  /** Number of entries; a layer without any is best left out of an image. */
  readonly entries: number;
}

/**
 * Writes what `produce` pushes as a layer blob. Equal trees in equal order give equal bytes.
 * @throws AegisError TREE_INVALID, ZSTD_UNAVAILABLE, and whatever `produce` throws; then nothing is kept
 */
export async function writeLayer(
  store: Pick<ImageStore, "createBlob">,
  produce: (sink: TreeSink) => Promise<void>,
  options: WriteLayerOptions,
): Promise<WrittenLayer> {
  const blob = store.createBlob();
  let compressor: Compressor | undefined;
  try {
    const made = await createCompressor((chunk) => blob.write(chunk), options);
    compressor = made;
    const tarHash = createHash("sha256");
    let size = 0;
    let entries = 0;
    const emit = batched((chunk) => {
      tarHash.update(chunk);
      size += chunk.length;
      made.write(chunk);
    });
    const encoder = createTarEncoder(emit.write, () => made.drain() ?? blob.drain());
    const clamp = options.modifiedClamp;
    await produce({
      ...encoder,
      entry(entry) {
        entries++;
        encoder.entry(clamp === undefined ? entry : clamped(entry, clamp));
      },
    });
    encoder.end();
    emit.flush();
    await made.end();
    const identity = await blob.commit();
    const descriptor = { mediaType: layerTypes[options.compression], ...identity };
    return { descriptor, diffId: `sha256:${tarHash.digest("hex")}` as DiffId, size, entries };
  } finally {
    await compressor?.abort();
    await blob.abort();
  }
}

function clamped(entry: TreeEntry, seconds: number): TreeEntry {
  const { sec, nsec } = entry.mtime;
  return sec > seconds || (sec === seconds && nsec > 0) ? { ...entry, mtime: { sec: seconds, nsec: 0 } } : entry;
}

export async function createCompressor(
  write: (chunk: Uint8Array) => void,
  options: Pick<WriteLayerOptions, "compression" | "level">,
): Promise<Compressor> {
  if (options.compression === "gzip") return createGzip(write, options.level);
  if (options.compression === "zstd") return await createZstd(write, options.level);
  return { write, drain: () => undefined, end: async () => undefined, abort: async () => undefined };
}

/** Joins small writes (headers, padding) so that hashing and copying happen in pieces worth their call. */
function batched(write: (chunk: Uint8Array) => void): { write(chunk: Uint8Array): void; flush(): void } {
  const buffer = Buffer.allocUnsafe(64 << 10);
  let filled = 0;
  const flush = () => {
    if (filled > 0) write(buffer.subarray(0, filled));
    filled = 0;
  };
  return {
    write(chunk) {
      if (filled + chunk.length > buffer.length) flush();
      if (chunk.length > buffer.length) {
        write(chunk);
        return;
      }
      buffer.set(chunk, filled);
      filled += chunk.length;
    },
    flush,
  };
}

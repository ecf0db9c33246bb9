/** Streams in: gzip on the libuv pool, zstd by node:zlib, the zstd program or fzstd, whichever is there, plain as it is. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import * as zlib from "node:zlib";
import { AegisError } from "../../support/errors.js";
import type { Compression } from "../media-types.js";
import { filterThrough, zstdTool } from "./zstd-tool.js";

/** Three times faster than with the default of 16 KiB. */
const chunkSize = 1 << 20;

/** node:zlib since 22.15; absent from the types of Node 20. */
type ZstdFactory = (options?: { readonly chunkSize?: number }) => zlib.Gunzip;
const nativeZstd = (zlib as unknown as { readonly createZstdDecompress?: ZstdFactory }).createZstdDecompress;

/** What the first bytes of a stream say about its compression; undefined when they are those of another kind. */
export function sniffCompression(head: Uint8Array): Compression | "xz" | "bzip2" {
  const starts = (...bytes: readonly number[]) => bytes.every((byte, i) => head[i] === byte);
  if (starts(0x1f, 0x8b)) return "gzip";
  if (
    starts(0x28, 0xb5, 0x2f, 0xfd) ||
    (starts(0x50 | (head[0] ?? 0), 0x2a, 0x4d, 0x18) && (head[0] ?? 0) >> 4 === 5)
  ) {
    return "zstd";
  }
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a)) return "xz";
  if (starts(0x42, 0x5a, 0x68)) return "bzip2";
  return "none";
}

/**
 * The uncompressed bytes of `source`. Chunks are valid until the next one is asked for.
 * @throws AegisError COMPRESSION_CORRUPT, and whatever the source throws
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
): AsyncGenerator<Uint8Array> {
  if (compression === "none") yield* source;
  else if (compression === "gzip") yield* through(source, zlib.createGunzip({ chunkSize }), "gzip");
  else if (nativeZstd) yield* through(source, nativeZstd({ chunkSize }), "zstd");
  else yield* foreignZstd(source);
}

/** Node 20 has no zstd: by the program where it is installed, else in JavaScript. */
async function* foreignZstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const tool = await zstdTool();
  if (tool === undefined) {
    yield* portableZstd(source);
    return;
  }
  let sourceFailure: unknown;
  async function* watched() {
    try {
      yield* source;
    } catch (error) {
      sourceFailure = error;
      throw error;
    }
  }
  try {
    yield* filterThrough(watched(), tool, ["-dcq"]);
  } catch (error) {
    throw sourceFailure ?? broken("zstd", error);
  }
}

async function* through(
  source: AsyncIterable<Uint8Array>,
  stream: zlib.Gunzip,
  name: string,
): AsyncGenerator<Uint8Array> {
  let sourceFailure: unknown;
  // zlib reads a chunk after write() returned, so it gets copies of what the source lends.
  async function* copies() {
    try {
      for await (const chunk of source) yield Buffer.from(chunk);
    } catch (error) {
      sourceFailure = error;
      throw error;
    }
  }
  const feeding = pipeline(Readable.from(copies(), { objectMode: true, highWaterMark: 2 }), stream);
  feeding.catch(() => undefined);
  try {
    yield* stream as AsyncIterable<Uint8Array>;
    await feeding;
  } catch (error) {
    throw sourceFailure ?? broken(name, error);
  } finally {
    stream.destroy();
  }
}

/** A pure decoder in small steps, so that the event loop turns between them. */
export async function* portableZstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { Decompress } = await import("fzstd");
  let ready: Uint8Array[] = [];
  const decoder = new Decompress((chunk) => {
    if (chunk.length > 0) ready.push(chunk);
  });
  const push = (chunk: Uint8Array, final: boolean): readonly Uint8Array[] => {
    try {
      decoder.push(chunk, final);
    } catch (error) {
      throw broken("zstd", error);
    }
    const pieces = ready;
    ready = [];
    return pieces;
  };
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += 1 << 17) yield* push(chunk.slice(at, at + (1 << 17)), false);
  }
  yield* push(new Uint8Array(0), true);
}

const broken = (name: string, cause: unknown): AegisError =>
  new AegisError("COMPRESSION_CORRUPT", `a ${name} stream is damaged or truncated`, {
    hint: "make or fetch it again",
    cause,
  });

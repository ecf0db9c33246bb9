/** Where archives come from: any byte stream, compressed or not, told by its first bytes. */
import { AegisError } from "../../support/errors.js";
import { decompress, sniffCompression } from "../compression/decompress.js";
import type { Compression } from "../media-types.js";

/** Looks at the beginning of a stream without taking it away. */
export async function peek(
  source: AsyncIterable<Uint8Array>,
  length: number,
): Promise<{ readonly head: Buffer; readonly all: AsyncIterable<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  const chunks: Buffer[] = [];
  let size = 0;
  while (size < length) {
    const next = await iterator.next();
    if (next.done) break;
    chunks.push(Buffer.from(next.value));
    size += next.value.length;
  }
  async function* all() {
    try {
      yield* chunks;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { head: Buffer.concat(chunks).subarray(0, length), all: all() };
}

/**
 * The tar inside of a stream, and how it was compressed.
 * @throws AegisError COMPRESSION_UNSUPPORTED for xz and bzip2
 */
export async function openTarStream(
  source: AsyncIterable<Uint8Array>,
): Promise<{ readonly tar: AsyncIterable<Uint8Array>; readonly compression: Compression }> {
  const { head, all } = await peek(source, 8);
  const compression = knownCompression(sniffCompression(head));
  return { tar: decompress(all, compression), compression };
}

export function knownCompression(found: ReturnType<typeof sniffCompression>): Compression {
  if (found !== "xz" && found !== "bzip2") return found;
  const tool = found === "xz" ? "xz -dc" : "bzip2 -dc";
  throw new AegisError("COMPRESSION_UNSUPPORTED", `the archive is compressed with ${found}`, {
    hint: `pipe it through ${tool}, or use gzip or zstd`,
  });
}

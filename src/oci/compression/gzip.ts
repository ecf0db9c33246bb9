/**
 * gzip out, on all cores: blocks of 1 MiB are deflated side by side on the libuv pool, each with the 32 KiB before it as
 * dictionary, and joined to one member (RFC 1951, RFC 1952). The bytes depend on the input, the level and the zlib alone.
 */
import { availableParallelism } from "node:os";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { crc32 } from "./crc32.js";

const deflateRaw = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.deflateRaw);

const blockLength = 1 << 20;
const windowLength = 32 << 10;
/** RFC 1952: deflate, no name, no time, unknown system, so that every platform writes the same. */
const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);

/** A compressor: takes borrowed chunks, gives its output to `write` in order. */
export interface Compressor {
  write(chunk: Uint8Array): void;
  drain(): Promise<void> | undefined;
  end(): Promise<void>;
  /** Releases what it holds; for when nobody wants the rest. Harmless after `end`. */
  abort(): Promise<void>;
}

export function createGzip(write: (chunk: Uint8Array) => void, level = 6): Compressor {
  // The pool has four threads unless told otherwise; one block more keeps them fed.
  const maxInFlight = Math.min(4, availableParallelism()) + 1;
  let block = Buffer.allocUnsafe(blockLength);
  let filled = 0;
  let window: Buffer | undefined;
  let crc = 0;
  let total = 0;
  let inFlight = 0;
  let failure: unknown;
  let tail: Promise<void> = Promise.resolve();
  write(header);

  function flush(last: boolean): void {
    const bytes = block.subarray(0, filled);
    crc = crc32(bytes, crc);
    total = (total + filled) % 2 ** 32;
    const dictionary = window;
    window = bytes.subarray(Math.max(0, filled - windowLength));
    if (!last) block = Buffer.allocUnsafe(blockLength);
    filled = 0;
    inFlight++;
    const finishFlush = last ? zlib.constants.Z_FINISH : zlib.constants.Z_SYNC_FLUSH;
    const options = { level, finishFlush, chunkSize: 256 << 10, ...(dictionary ? { dictionary } : {}) };
    const compressed = deflateRaw(bytes, options);
    // Observed here so that a failure is never unhandled while it waits for its turn.
    compressed.catch(() => undefined);
    tail = tail
      .then(async () => write(await compressed))
      .catch((error) => {
        failure ??= error;
      })
      .finally(() => {
        inFlight--;
      });
  }

  async function settle(until: Promise<void>): Promise<void> {
    await until;
    if (failure) throw failure;
  }

  return {
    write(chunk) {
      for (let at = 0; at < chunk.length; ) {
        const length = Math.min(chunk.length - at, blockLength - filled);
        block.set(chunk.subarray(at, at + length), filled);
        filled += length;
        at += length;
        if (filled === blockLength) flush(false);
      }
    },
    drain: () => (failure || inFlight >= maxInFlight ? settle(tail) : undefined),
    async end() {
      flush(true);
      await settle(tail);
      const trailer = Buffer.alloc(8);
      trailer.writeUInt32LE(crc >>> 0, 0);
      trailer.writeUInt32LE(total, 4);
      write(trailer);
    },
    abort: () => tail,
  };
}

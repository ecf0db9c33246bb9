/** zstd out: node:zlib's encoder where Node has one (22.15 and later). */
import * as zlib from "node:zlib";
import { AegisError } from "../../support/errors.js";
import type { Compressor } from "./gzip.js";

type ZstdFactory = (options: { readonly chunkSize: number; readonly params: Record<number, number> }) => zlib.Gzip;
const native = zlib as unknown as {
  readonly createZstdCompress?: ZstdFactory;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
};

/** @throws AegisError ZSTD_UNAVAILABLE */
export async function createZstd(write: (chunk: Uint8Array) => void, level = 3): Promise<Compressor> {
  if (!native.createZstdCompress) {
    throw new AegisError("ZSTD_UNAVAILABLE", `Node ${process.versions.node} can't write zstd`, {
      hint: "use Node 22.15 or newer, or compress with gzip",
    });
  }
  const params = { [native.constants.ZSTD_c_compressionLevel ?? 100]: level };
  const stream = native.createZstdCompress({ chunkSize: 1 << 20, params });
  let failure: unknown;
  const ended = new Promise<void>((resolve, reject) => {
    stream.on("data", (chunk: Buffer) => write(chunk));
    stream.once("end", resolve);
    stream.once("error", reject);
  });
  ended.catch((error) => {
    failure = error;
  });
  return {
    write(chunk) {
      stream.write(Buffer.from(chunk));
    },
    drain() {
      if (failure) throw failure;
      if (!stream.writableNeedDrain) return undefined;
      return Promise.race([new Promise<void>((resolve) => stream.once("drain", resolve)), ended]);
    },
    async end() {
      stream.end();
      await ended;
    },
  };
}

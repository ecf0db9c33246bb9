/** zstd out: by node:zlib (22.15 and later), or by the zstd program. */
import type { Readable, Writable } from "node:stream";
import * as zlib from "node:zlib";
import { AegisError } from "../../support/errors.js";
import type { Compressor } from "./gzip.js";
import { startFilter, zstdTool } from "./zstd-tool.js";

type ZstdFactory = (options: { readonly chunkSize: number; readonly params: Record<number, number> }) => zlib.Gzip;
const native = zlib as unknown as {
  readonly createZstdCompress?: ZstdFactory;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
};

/** @throws AegisError ZSTD_UNAVAILABLE */
export async function createZstd(write: (chunk: Uint8Array) => void, level = 3): Promise<Compressor> {
  if (native.createZstdCompress) {
    const params = { [native.constants.ZSTD_c_compressionLevel ?? 100]: level };
    const stream = native.createZstdCompress({ chunkSize: 1 << 20, params });
    return throughStreams(stream, stream, ended(stream), write);
  }
  const tool = await zstdTool();
  if (tool === undefined) {
    throw new AegisError("ZSTD_UNAVAILABLE", `Node ${process.versions.node} can't write zstd`, {
      hint: "install the zstd program, use Node 22.15 or newer, or compress with gzip",
    });
  }
  // One thread: the bytes must not depend on the number of processors.
  const filter = startFilter(tool, ["-cq", `-${level}`, "--single-thread"]);
  const finished = Promise.all([ended(filter.stdout), filter.exited]).then(() => undefined);
  return throughStreams(filter.stdin, filter.stdout, finished, write);
}

const ended = (stream: Readable): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.once("end", resolve);
    stream.once("error", reject);
  });

function throughStreams(
  input: Writable,
  output: Readable,
  finished: Promise<void>,
  write: (chunk: Uint8Array) => void,
): Compressor {
  let failure: unknown;
  finished.catch((error) => {
    failure = error;
  });
  output.on("data", (chunk: Buffer) => write(chunk));
  return {
    write(chunk) {
      input.write(Buffer.from(chunk));
    },
    drain() {
      if (failure) throw failure;
      if (!input.writableNeedDrain) return undefined;
      return Promise.race([new Promise<void>((resolve) => input.once("drain", resolve)), finished]);
    },
    async end() {
      input.end();
      await finished;
    },
    async abort() {
      input.destroy();
      output.destroy();
      await finished.catch(() => undefined);
    },
  };
}

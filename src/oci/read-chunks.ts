/** Reading files from their beginning to their end. */
import { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";

const readSize = 1 << 20;
/** Little enough to stay in the cache of the processor that looks at it next. */
const smallSize = 256 << 10;

/** A file's bytes in pieces of 1 MiB, each valid until the next one is asked for. One is being read while one is looked at. */
export async function* readChunks(file: FileHandle, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const buffers = [Buffer.allocUnsafeSlow(readSize), Buffer.allocUnsafeSlow(readSize)] as const;
  const read = (index: number, position: number) => {
    const reading = file.read(buffers[index % 2]!, 0, readSize, position);
    // A failure is met when its turn comes; until then it must not count as unhandled.
    reading.catch(() => undefined);
    return reading;
  };
  let next = read(0, 0);
  try {
    for (let index = 0, position = 0; ; index++) {
      signal?.throwIfAborted();
      const { bytesRead, buffer } = await next;
      if (bytesRead === 0) return;
      position += bytesRead;
      next = read(index + 1, position);
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    // Whoever stops early closes the file.
    await next.catch(() => undefined);
  }
}

/**
 * The same without the thread pool, for threads that have nothing else to do, and for bytes that are in the page cache or
 * about to be: waking somebody up takes longer than copying them.
 */
export function* readChunksNow(fd: number): Generator<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(smallSize);
  for (let position = 0; ; ) {
    const length = readSync(fd, buffer, 0, smallSize, position);
    if (length === 0) return;
    position += length;
    yield buffer.subarray(0, length);
  }
}

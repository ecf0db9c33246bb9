/** Reading files from their beginning to their end. */
import type { FileHandle } from "node:fs/promises";

const readSize = 1 << 20;

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

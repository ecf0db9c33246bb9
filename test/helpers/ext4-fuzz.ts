/** Sees that a reader of an image ends, with a coded error or with a tree, in bounded time. */
import { openExt4, type RandomAccessSource } from "../../src/ext4/index.js";
import type { ByteString } from "../../src/support/brands.js";
import { AegisError } from "../../src/support/errors.js";
import type { TreeSink } from "../../src/support/tree.js";

/** More reading than this for each byte of the image is work without bound. */
const MAX_READS = 100;

/** Bytes in memory as a source that tells a reader going in circles. */
export function memorySource(image: Buffer): RandomAccessSource {
  let left = image.length * MAX_READS;
  return {
    size: image.length,
    read(target, position) {
      if (position + target.length > image.length) throw new Error(`read of ${target.length} bytes at ${position}`);
      left -= target.length;
      if (left < 0) throw new Error("the image was read over and over");
      image.copy(target, 0, position, position + target.length);
    },
  };
}

/** Reads everything there is; gives the code of the error it ends with. Any other error is thrown. */
export async function readEverything(image: Buffer, verifyChecksums: boolean): Promise<string | undefined> {
  const sink: TreeSink = {
    entry: () => undefined,
    data: () => undefined,
    hole: () => undefined,
    drain: () => undefined,
  };
  try {
    const reader = openExt4(memorySource(image), { verifyChecksums });
    const directory = reader.lookup("deep/down" as ByteString, { followSymlinks: true });
    if (directory?.type === "file") reader.read(directory, 100, 10_000);
    await reader.walk("" as ByteString, sink);
    return undefined;
  } catch (error) {
    if (error instanceof AegisError) return error.code;
    throw error;
  }
}

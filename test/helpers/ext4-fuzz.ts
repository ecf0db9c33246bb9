/** Damages images and sees that a reader ends, with a coded error or with a tree, in bounded time. */
import { openExt4, type RandomAccessSource } from "../../src/ext4/index.js";
import type { ByteString } from "../../src/support/brands.js";
import { AegisError } from "../../src/support/errors.js";
import type { TreeSink } from "../../src/support/tree.js";

/** Small, fast, and the same everywhere: xorshift32. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const BLOCK = 1024;
const awkward = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

/** Offsets of the parts of an image that hold anything; the rest is holes, where damage would seldom be found. */
export function usedBlocks(image: Buffer): number[] {
  const zeros = Buffer.alloc(BLOCK);
  const used: number[] = [];
  for (let at = 0; at + BLOCK <= image.length; at += BLOCK)
    if (image.compare(zeros, 0, BLOCK, at, at + BLOCK) !== 0) used.push(at);
  return used;
}

/** Some damage to some used blocks; what undoes it. */
export function damage(image: Buffer, used: readonly number[], random: (below: number) => number): () => void {
  const undo: (() => void)[] = [];
  for (let count = 1 + random(6); count > 0; count--) {
    const at = used[random(used.length)]! + (random(BLOCK) & ~3);
    const old = Buffer.from(image.subarray(at, at + 16));
    undo.push(() => old.copy(image, at));
    switch (random(5)) {
      case 0:
        image[at + random(4)]! ^= 1 << random(8);
        break;
      case 1:
        image.writeUInt32LE(awkward[random(awkward.length)]!, at);
        break;
      case 2:
        image.writeUInt16LE(awkward[random(awkward.length)]! & 0xffff, at + 2 * random(2));
        break;
      case 3:
        image.writeUInt32LE(random(image.length / 4096), at);
        break;
      default:
        moved(image, at, used[random(used.length)]! + (random(BLOCK - 16) & ~3));
        break;
    }
  }
  return () => {
    for (const step of undo.reverse()) step();
  };
}

/** Twelve bytes of one place in another: a pointer, an extent, an entry where it doesn't belong. */
const moved = (image: Buffer, to: number, from: number) => image.copyWithin(to, from, from + 12);

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

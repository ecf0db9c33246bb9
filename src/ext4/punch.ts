/** Gives freed ranges of the image file back to the host, so that no removed content stays in it. */
import { writeSync } from "node:fs";
import type { Run } from "./allocator.js";
import { BLOCK_SIZE } from "./geometry.js";

const zeros = Buffer.alloc(1 << 20);

/** Punches holes, or writes zeros where the host's filesystem can't. */
export async function punchHoles(fd: number, runs: readonly Run[]): Promise<void> {
  if (runs.length === 0) return;
  const { default: native } = await import("fs-native-extensions");
  for (const { start, length } of runs) {
    try {
      await native.trim(fd, start * BLOCK_SIZE, length * BLOCK_SIZE);
    } catch {
      writeZeros(fd, start * BLOCK_SIZE, length * BLOCK_SIZE);
    }
  }
}

function writeZeros(fd: number, position: number, length: number): void {
  for (let done = 0; done < length; ) {
    done += writeSync(fd, zeros, 0, Math.min(zeros.length, length - done), position + done);
  }
}

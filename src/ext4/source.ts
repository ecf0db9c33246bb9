/** Where a reader's bytes come from. */
import { fstatSync, readSync } from "node:fs";
import { corrupt } from "./failures.js";

export interface RandomAccessSource {
  /** Bytes that can be read. */
  readonly size: number;
  /** Fills `target` with the bytes from `position` on, or throws. */
  read(target: Uint8Array, position: number): void;
}

/** An open regular file as a source. */
export function fileSource(fd: number): RandomAccessSource {
  return {
    size: fstatSync(fd).size,
    read(target, position) {
      for (let done = 0; done < target.length; ) {
        const count = readSync(fd, target, done, target.length - done, position + done);
        if (count === 0) throw corrupt("the image file is shorter than the filesystem");
        done += count;
      }
    },
  };
}

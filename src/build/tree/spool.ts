/** A temporary file that holds the contents of many files while a step decides what becomes of them. */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import type { TreeSink } from "../../support/tree.js";

export interface SpooledContent {
  /** Pieces in order; those without a position are holes. */
  readonly pieces: { readonly at: number | undefined; length: number }[];
}

export class Spool implements Disposable {
  readonly #fd: number;
  #end = 0;

  constructor(file: string) {
    this.#fd = openSync(file, "wx+", 0o600);
  }

  append(content: SpooledContent, chunk: Uint8Array): void {
    const last = content.pieces.at(-1);
    if (last?.at !== undefined && last.at + last.length === this.#end) last.length += chunk.length;
    else content.pieces.push({ at: this.#end, length: chunk.length });
    for (let done = 0; done < chunk.length; ) {
      done += writeSync(this.#fd, chunk, done, chunk.length - done, this.#end + done);
    }
    this.#end += chunk.length;
  }

  async read(content: SpooledContent, sink: TreeSink): Promise<void> {
    const buffer = Buffer.allocUnsafe(1 << 18);
    for (const { at, length } of content.pieces) {
      if (at === undefined) sink.hole(length);
      else {
        for (let done = 0; done < length; ) {
          const count = readSync(this.#fd, buffer, 0, Math.min(buffer.length, length - done), at + done);
          if (count === 0) throw new Error("the spool file was cut off");
          sink.data(buffer.subarray(0, count));
          done += count;
          await sink.drain();
        }
      }
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

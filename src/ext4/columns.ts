/** Growing typed arrays: a million inodes fit in tens of megabytes when each property is a column of numbers. */

type Column = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** A copy of `column` with room for `capacity` values. */
export function grown<T extends Column>(column: T, capacity: number): T {
  const larger = new (column.constructor as new (length: number) => T)(capacity);
  larger.set(column);
  return larger;
}

const CHUNK = 1 << 20;

/** Strings of bytes, kept outside of the JavaScript heap. An address stays valid for the arena's life. */
export class Arena {
  #chunks: Buffer[] = [];
  #fill = CHUNK;

  /** Keeps `text[start, end)`, at most 64 KiB, and gives its address. */
  put(text: string, start: number, end: number): number {
    if (this.#fill + (end - start) > CHUNK) {
      this.#chunks.push(Buffer.allocUnsafeSlow(CHUNK));
      this.#fill = 0;
    }
    const address = (this.#chunks.length - 1) * CHUNK + this.#fill;
    const chunk = this.#chunks[this.#chunks.length - 1]!;
    // Names are so short that a call out of JavaScript would cost more than the loop.
    for (let i = start, at = this.#fill; i < end; i++, at++) chunk[at] = text.charCodeAt(i);
    this.#fill += end - start;
    return address;
  }

  equals(address: number, text: string, start: number, end: number): boolean {
    const chunk = this.#chunks[Math.floor(address / CHUNK)]!;
    for (let at = address % CHUNK, i = start; i < end; at++, i++) {
      if (chunk[at] !== text.charCodeAt(i)) return false;
    }
    return true;
  }

  /** A view of the bytes. */
  bytes(address: number, length: number): Buffer {
    const at = address % CHUNK;
    return this.#chunks[Math.floor(address / CHUNK)]!.subarray(at, at + length);
  }
}

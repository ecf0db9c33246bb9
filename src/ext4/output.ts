/**
 * Bytes on their way to the image file. Consecutive writes gather in windows that end on multiples of 1 MiB; full windows
 * are written by the thread pool while the producer goes on. At most a handful of windows exist, whatever the image's size.
 */
import { fstatSync, write, writeSync } from "node:fs";
import { AegisError } from "../support/errors.js";

const WINDOW = 1 << 20;
/** Windows waiting or being written before `drain` asks the producer to wait, and before `push` writes by itself. */
const HIGH_WATER = 3;
const MAX_PENDING = 6;
/** One is being written, one is ready to follow without a turn of the event loop between them. */
const MAX_IN_FLIGHT = 2;

interface Pending {
  readonly buffer: Uint8Array;
  readonly length: number;
  readonly position: number;
  started: boolean;
}

export class Output {
  /** No Buffer: its `fill` leaves JavaScript each time, and most files end in a few zeros. */
  #window: Uint8Array | undefined;
  #start = 0;
  #fill = 0;
  #limit = 0;
  #pending: Pending[] = [];
  #inFlight = 0;
  #spare: Uint8Array[] = [];
  #failure: unknown;
  #waiters: (() => void)[] = [];

  /** @throws AegisError EXT4_NOT_EMPTY: the writer relies on every byte it doesn't write being zero */
  constructor(readonly fd: number) {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size !== 0) {
      throw new AegisError("EXT4_NOT_EMPTY", "a filesystem can only be written to an empty regular file");
    }
  }

  /** Copies `bytes[from, to)` to `position` of the file. */
  write(position: number, bytes: Uint8Array, from = 0, to = bytes.length): void {
    let at = from;
    let target = position;
    while (at < to) {
      const window = this.#windowAt(target);
      const count = Math.min(to - at, this.#limit - this.#fill);
      window.set(at === 0 && count === bytes.length ? bytes : bytes.subarray(at, at + count), this.#fill);
      this.#fill += count;
      at += count;
      target += count;
    }
  }

  /** Writes `length` zero bytes. */
  zeros(position: number, length: number): void {
    let left = length;
    let target = position;
    while (left > 0) {
      const window = this.#windowAt(target);
      const count = Math.min(left, this.#limit - this.#fill);
      window.fill(0, this.#fill, this.#fill + count);
      this.#fill += count;
      left -= count;
      target += count;
    }
  }

  /** Resolves when there is room again; undefined when there is. */
  drain(): Promise<void> | undefined {
    this.#throwFailure();
    if (this.#pending.length < HIGH_WATER) return undefined;
    return new Promise((resolve, reject) => {
      this.#waiters.push(() => (this.#failure === undefined ? resolve() : reject(writeFailed(this.#failure))));
    });
  }

  /** Everything written so far is in the file when this resolves. */
  async flush(): Promise<void> {
    this.#push();
    while (this.#pending.length > 0) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    this.#throwFailure();
  }

  /**
   * Forgets what isn't being written yet and waits for what is: only then may the file be closed, for its descriptor's number
   * could be another file's the moment after.
   */
  async settle(): Promise<void> {
    this.#window = undefined;
    this.#pending = this.#pending.filter((item) => item.started);
    while (this.#pending.length > 0) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** The window that takes a byte at `position`. */
  #windowAt(position: number): Uint8Array {
    if (this.#window && position === this.#start + this.#fill && this.#fill < this.#limit) return this.#window;
    this.#push();
    this.#window = this.#spare.pop() ?? new Uint8Array(WINDOW);
    this.#start = position;
    this.#fill = 0;
    this.#limit = WINDOW - (position % WINDOW);
    return this.#window;
  }

  #push(): void {
    const buffer = this.#window;
    if (!buffer) return;
    this.#throwFailure();
    this.#window = undefined;
    const next: Pending = { buffer, length: this.#fill, position: this.#start, started: false };
    if (this.#pending.length >= MAX_PENDING && !this.#pending.some((other) => overlaps(next, other))) {
      this.#writeNow(next);
      return;
    }
    this.#pending.push(next);
    this.#startWrites();
  }

  /** A producer that never waits must not fill the memory. */
  #writeNow({ buffer, length, position }: Pending): void {
    try {
      for (let done = 0; done < length; ) done += writeSync(this.fd, buffer, done, length - done, position + done);
    } catch (error) {
      this.#failure = error;
    }
    this.#spare.push(buffer);
    this.#throwFailure();
  }

  /** Starts writes in order; one that overlaps an earlier one waits for it. */
  #startWrites(): void {
    for (const [index, item] of this.#pending.entries()) {
      if (this.#inFlight >= MAX_IN_FLIGHT) return;
      if (item.started) continue;
      if (this.#pending.slice(0, index).some((earlier) => overlaps(item, earlier))) return;
      item.started = true;
      this.#inFlight++;
      this.#continueWrite(item, 0);
    }
  }

  #continueWrite(item: Pending, done: number): void {
    write(this.fd, item.buffer, done, item.length - done, item.position + done, (error, count) => {
      if (!error && done + count < item.length) {
        this.#continueWrite(item, done + count);
        return;
      }
      if (error) this.#failure ??= error;
      this.#inFlight--;
      this.#pending.splice(this.#pending.indexOf(item), 1);
      if (this.#spare.length < MAX_PENDING) this.#spare.push(item.buffer);
      this.#startWrites();
      if (this.#pending.length < HIGH_WATER) for (const waiter of this.#waiters.splice(0)) waiter();
    });
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw writeFailed(this.#failure);
  }
}

const overlaps = (a: Pending, b: Pending): boolean =>
  a.position < b.position + b.length && b.position < a.position + a.length;

function writeFailed(cause: unknown): AegisError {
  return new AegisError("EXT4_WRITE_FAILED", "the disk image could not be written", {
    hint: "see that there is enough free space where the image is kept",
    cause,
  });
}

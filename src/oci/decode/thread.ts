/** The program of a decoding thread: reads a blob by its descriptor, decompresses, hashes, fills slots. See protocol.ts. */
import { readSync } from "node:fs";
import { type MessagePort, parentPort } from "node:worker_threads";
import { AegisError } from "../../support/errors.js";
import { decodeBlob } from "./blob.js";
import { type Failure, type FromThread, slotSize, type ToThread } from "./protocol.js";

/** Of compressed bytes. */
const readSize = 256 << 10;

const port = parentPort as MessagePort;
let free: number[] = [];
let cancelled = false;
let wake: (() => void) | undefined;

port.on("message", (message: ToThread) => {
  if (message.type === "start") void run(message);
  else if (message.type === "free") free.push(message.slot);
  else cancelled = true;
  wake?.();
});

const say = (message: FromThread): void => port.postMessage(message);

async function run(job: ToThread & { readonly type: "start" }): Promise<void> {
  const slots = job.memory.byteLength / slotSize;
  // The lowest ones are taken first, so that a job that never runs ahead touches little memory.
  free = Array.from({ length: slots }, (_, i) => slots - 1 - i);
  cancelled = false;
  const chunks = decodeBlob(job.compression === "none" ? readIntoSlots(job) : readBlob(job.fd), job);
  try {
    for (;;) {
      const { value, done } = await chunks.next();
      if (done) {
        say({ type: "ended", facts: value });
        return;
      }
      if (value.buffer === job.memory) say({ type: "filled", slot: value.byteOffset / slotSize, length: value.length });
      else await passOn(value, job.memory);
    }
  } catch (error) {
    // An early end of the loop leaves the decompressor open.
    await chunks.return?.(undefined as never).catch(() => undefined);
    say({ type: "failed", failure: describe(error) });
  }
}

async function passOn(bytes: Uint8Array, memory: SharedArrayBuffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += slotSize) {
    const piece = bytes.subarray(at, at + slotSize);
    const slot = await takeSlot();
    new Uint8Array(memory, slot * slotSize, piece.length).set(piece);
    say({ type: "filled", slot, length: piece.length });
  }
}

async function takeSlot(): Promise<number> {
  while (free.length === 0 && !cancelled) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  if (cancelled) throw new Error("cancelled");
  return free.pop()!;
}

// Both read without the thread pool: this thread has nothing else to do, and the pool is busy writing.

/** Plain bytes need no copy: they are read to where they are wanted. */
async function* readIntoSlots({ fd, memory }: { fd: number; memory: SharedArrayBuffer }): AsyncGenerator<Uint8Array> {
  for (let position = 0; ; ) {
    const slot = await takeSlot();
    const bytes = Buffer.from(memory, slot * slotSize, slotSize);
    const length = readSync(fd, bytes, 0, slotSize, position);
    if (length === 0) return;
    position += length;
    yield bytes.subarray(0, length);
  }
}

async function* readBlob(fd: number): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(readSize);
  for (let position = 0; ; ) {
    const length = readSync(fd, buffer, 0, readSize, position);
    if (length === 0) return;
    position += length;
    yield buffer.subarray(0, length);
  }
}

function describe(error: unknown): Failure {
  const { message, code } = (error instanceof Error ? error : new Error(String(error))) as NodeJS.ErrnoException;
  const isAegis = error instanceof AegisError;
  return { message, code, hint: isAegis ? error.hint : undefined, isAegis };
}

/** The program of a decoding thread: reads a blob by its descriptor, hashes, decompresses, fills slots. See protocol.ts. */
import { setImmediate } from "node:timers/promises";
import { type MessagePort, parentPort } from "node:worker_threads";
import { AegisError } from "../../support/errors.js";
import { readChunksNow } from "../read-chunks.js";
import { type BlobFacts, decodeBlob } from "./blob.js";
import { type Failure, type FromThread, slotSize, type ToThread } from "./protocol.js";

const chunksPerTurn = 64;

const port = parentPort as MessagePort;
let free: number[] = [];
let cancelled = false;
let wake: (() => void) | undefined;

port.on("message", (message: ToThread) => {
  if (message.type === "decode") void run(() => decode(message));
  else if (message.type === "hash") void run(() => hash(message.fd));
  else if (message.type === "free") free.push(message.slot);
  else cancelled = true;
  wake?.();
});

const say = (message: FromThread): void => port.postMessage(message);

async function run(work: () => Promise<BlobFacts>): Promise<void> {
  cancelled = false;
  try {
    say({ type: "ended", facts: await work() });
  } catch (error) {
    say({ type: "failed", failure: describe(error) });
  }
}

async function decode(job: ToThread & { readonly type: "decode" }): Promise<BlobFacts> {
  const slots = job.memory.byteLength / slotSize;
  // The lowest ones are taken first, so that a job that never runs ahead touches little memory.
  free = Array.from({ length: slots }, (_, i) => slots - 1 - i);
  const chunks = decodeBlob(readBlob(job.fd), job);
  try {
    for (;;) {
      const { value, done } = await chunks.next();
      if (done) return value;
      await passOn(value, job.memory);
    }
  } finally {
    // An early end of the loop leaves the decompressor open.
    await chunks.return?.(undefined as never).catch(() => undefined);
  }
}

async function hash(fd: number): Promise<BlobFacts> {
  const chunks = decodeBlob(readBlob(fd), { compression: "none", hashBlob: false });
  for (let count = 1; ; count++) {
    const { value, done } = await chunks.next();
    if (done) return value;
    // Nothing else lets a message in.
    if (count % chunksPerTurn === 0) await setImmediate();
    if (cancelled) throw new Error("cancelled");
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

async function* readBlob(fd: number): AsyncGenerator<Uint8Array> {
  // The pool is busy writing.
  yield* readChunksNow(fd);
}

function describe(error: unknown): Failure {
  const { message, code } = (error instanceof Error ? error : new Error(String(error))) as NodeJS.ErrnoException;
  const isAegis = error instanceof AegisError;
  return { message, code, hint: isAegis ? error.hint : undefined, isAegis };
}

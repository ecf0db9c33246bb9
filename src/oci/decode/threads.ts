/**
 * Threads that decode blobs beside the main one. A thread runs ahead of whoever takes its bytes by as much memory as it was
 * given, so the next layers are being unpacked while the first is still being merged.
 */
import { existsSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { AegisError } from "../../support/errors.js";
import { readChunksNow } from "../read-chunks.js";
import type { BlobFacts, DecodeRequest } from "./blob.js";
import { type FromThread, slotSize, type ToThread } from "./protocol.js";

export interface DecodeThreads extends AsyncDisposable {
  /** Starts to decode an open blob, which must stay open until the decoding is stopped. */
  decode(file: FileHandle, request: DecodeRequest & { readonly aheadBytes: number }): Decoding;
}

/** A blob that is being decoded. */
export interface Decoding {
  /**
   * The tar, once, in pieces that are valid until the next one is asked for. The generator's value waits for the facts, which
   * may take longer than the tar.
   */
  pieces(): AsyncGenerator<Uint8Array, () => Promise<BlobFacts>>;
  /** Gives up what has not been taken; resolves when the file is no longer read. Harmless at the end. */
  stop(): Promise<void>;
}

/** So often the event loop gets a turn when nothing else gives it one. */
const piecesPerTurn = 16;
/** Beside the bundle; in a checkout whose sources run by themselves, what was built of them last. */
const programs = ["layer-thread.mjs", "../../../dist/layer-thread.mjs"];

/** @throws AegisError DECODE_THREAD when the threads' program is missing: one thread alone would do it, but nobody would know */
export function createDecodeThreads(): DecodeThreads {
  const program = findProgram();
  const all: Worker[] = [];
  const idle: Worker[] = [];

  function take(): Worker {
    const known = idle.pop();
    if (known) return known;
    const worker = new Worker(program, { execArgv: [] });
    all.push(worker);
    return worker;
  }

  return {
    decode(file, { aheadBytes, compression, hashBlob }) {
      const worker = take();
      const job = openJob(worker);
      let pieces: Decoding["pieces"];
      if (compression === "none") {
        job.tell({ type: "hash", fd: file.fd });
        pieces = () => readBeside(job, file);
      } else {
        const memory = new SharedArrayBuffer(Math.max(2, Math.ceil(aheadBytes / slotSize)) * slotSize);
        job.tell({ type: "decode", fd: file.fd, memory, compression, hashBlob });
        pieces = () => takePieces(job, memory);
      }
      return {
        pieces,
        async stop() {
          if (!(await job.end())) return;
          idle.push(worker);
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((worker) => worker.terminate()));
    },
  };
}

function findProgram(): URL {
  const found = programs.map((name) => new URL(name, import.meta.url)).find((url) => existsSync(fileURLToPath(url)));
  if (found) return found;
  throw new AegisError("DECODE_THREAD", "the program of the threads that decode layers is missing", {
    hint: "run `npm run build` in a checkout; else install aegis again",
  });
}

interface Job {
  tell(message: ToThread): void;
  next(): Promise<FromThread>;
  /** Cancels what still runs; whether the thread can be given another job. The second call does nothing. */
  end(): Promise<boolean>;
}

function openJob(worker: Worker): Job {
  const messages: FromThread[] = [];
  let wake: (() => void) | undefined;
  let over = false;
  let closed = false;
  let alive = true;
  const push = (message: FromThread) => {
    messages.push(message);
    over ||= message.type !== "filled";
    wake?.();
  };
  const died = (what: string) => {
    alive = false;
    push({ type: "failed", failure: { message: what, code: "DECODE_THREAD", hint: undefined, isAegis: true } });
  };
  const onError = (error: Error) => died(`the thread that decodes a layer failed: ${error.message}`);
  const onExit = (code: number) => died(`the thread that decodes a layer ended with status ${code}`);
  worker.on("message", push).on("error", onError).on("exit", onExit);

  async function next(): Promise<FromThread> {
    while (messages.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return messages.shift()!;
  }

  return {
    tell: (message) => worker.postMessage(message),
    next,
    async end() {
      if (closed) return false;
      closed = true;
      if (!over) worker.postMessage({ type: "cancel" } satisfies ToThread);
      while (!over) await next();
      worker.off("message", push).off("error", onError).off("exit", onExit);
      return alive;
    },
  };
}

/**
 * A plain tar needs no thread but for its hash. That thread reads the same bytes a little earlier, so it is the one that waits
 * for the device.
 */
async function* readBeside(job: Job, file: FileHandle): AsyncGenerator<Uint8Array, () => Promise<BlobFacts>> {
  let count = 0;
  for (const piece of readChunksNow(file.fd)) {
    yield piece;
    // Downloads of other layers go on meanwhile.
    if (++count % piecesPerTurn === 0) await setImmediate();
  }
  return async () => {
    const message = await job.next();
    if (message.type === "ended") return message.facts;
    throw failureOf(message);
  };
}

async function* takePieces(job: Job, memory: SharedArrayBuffer): AsyncGenerator<Uint8Array, () => Promise<BlobFacts>> {
  for (;;) {
    const message = await job.next();
    if (message.type === "ended") return async () => message.facts;
    if (message.type !== "filled") throw failureOf(message);
    yield Buffer.from(memory, message.slot * slotSize, message.length);
    job.tell({ type: "free", slot: message.slot });
  }
}

function failureOf(said: FromThread): Error {
  if (said.type !== "failed") return new Error(`a decoding thread said "${said.type}" out of turn`);
  const { message, code, hint, isAegis } = said.failure;
  if (!isAegis) return Object.assign(new Error(message), { code });
  return new AegisError(code!, message, hint === undefined ? {} : { hint });
}

/** Host side of one process in the guest: its three streams under credit, its exit. */
import { type Duplex, Readable, Writable } from "node:stream";
import { MalformedMessage } from "./fields.js";
import { INPUT_WINDOW, OUTPUT_WINDOW, ToGuest } from "./frames.js";
import { encodeU32 } from "./messages.js";
import type { GuestProcess, ProcessExit } from "./types.js";

/** Credit goes back in pieces of at least this size, so that small reads don't cost a frame each. */
const creditStep = OUTPUT_WINDOW / 4;

export type SendFrame = (type: number, flags: number, stream: number, payload: Uint8Array) => void;

/**
 * One output of the process. What the reader is not ready for waits in `queue`, which the window bounds; credit goes back when
 * the reader's stream takes a chunk.
 */
class Channel {
  readonly readable: Readable;
  readonly #grant: (count: number) => void;
  readonly #queue: Buffer[] = [];
  #window = OUTPUT_WINDOW;
  #owed = 0;
  #wanted = false;
  #finished = false;
  ended = false;

  constructor(grant: (count: number) => void) {
    this.#grant = grant;
    this.readable = new Readable({
      read: () => {
        this.#wanted = true;
        this.#pump();
      },
    });
    // A reader that walks away must not leave the process stuck on a full pipe.
    this.readable.once("close", () => this.#pump());
  }

  push(payload: Buffer): void {
    if (this.ended) throw new MalformedMessage("output after its end");
    if (payload.length > this.#window) throw new MalformedMessage("more output than was asked for");
    this.#window -= payload.length;
    // Copied: the frame's bytes are a view of the port's receive buffer.
    this.#queue.push(Buffer.from(payload));
    this.#pump();
  }

  end(): void {
    this.ended = true;
    this.#pump();
  }

  #pump(): void {
    const gone = this.readable.destroyed;
    while (this.#queue.length > 0 && (this.#wanted || gone)) {
      const chunk = this.#queue.shift()!;
      if (!gone) this.#wanted = this.readable.push(chunk);
      this.#owed += chunk.length;
    }
    if (this.ended) {
      if (this.#queue.length === 0 && !gone) this.#finish();
      return;
    }
    if (this.#owed < creditStep) return;
    this.#window += this.#owed;
    this.#grant(this.#owed);
    this.#owed = 0;
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.readable.push(null);
  }
}

export class RemoteProcess implements GuestProcess {
  pid: number | undefined;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<ProcessExit>;
  readonly #stream: number;
  readonly #send: SendFrame;
  readonly #channels: readonly [Channel, Channel];
  #settleExit!: { resolve(exit: ProcessExit): void; reject(error: Error): void };
  #hasExited = false;
  #inputCredit = INPUT_WINDOW;
  #waiting: { chunk: Buffer; done: (error?: Error | null) => void } | undefined;

  constructor(stream: number, send: SendFrame) {
    this.#stream = stream;
    this.#send = send;
    this.exited = new Promise((resolve, reject) => {
      this.#settleExit = { resolve, reject };
    });
    // A caller who never looks at `exited` must not end the program when the port closes.
    this.exited.catch(() => {});
    const channel = (flags: number) =>
      new Channel((count) => this.#send(ToGuest.credit, flags, stream, encodeU32(count)));
    this.#channels = [channel(1), channel(2)];
    this.stdout = this.#channels[0].readable;
    this.stderr = this.#channels[1].readable;
    this.stdin = this.#input();
  }

  kill(signal: number): void {
    if (!this.#hasExited) this.#send(ToGuest.signal, 0, this.#stream, encodeU32(signal));
  }

  resize(rows: number, cols: number): void {
    if (!this.#hasExited) this.#send(ToGuest.resize, 0, this.#stream, encodeU32(rows, cols));
  }

  /** True when nothing more can come for this process. */
  get done(): boolean {
    return this.#hasExited && this.#channels.every((channel) => channel.ended);
  }

  onOutput(flags: number, payload: Buffer): void {
    this.#channelOf(flags).push(payload);
  }

  onOutputEnd(flags: number): void {
    const channel = this.#channelOf(flags);
    if (channel.ended) throw new MalformedMessage("an output ended twice");
    channel.end();
  }

  onInputCredit(count: number): void {
    this.#inputCredit += count;
    if (this.#inputCredit > INPUT_WINDOW) throw new MalformedMessage("more input credit than there is");
    this.#flushInput();
  }

  onExit(exit: ProcessExit): void {
    if (this.#hasExited) throw new MalformedMessage("a process ended twice");
    this.#hasExited = true;
    this.#settleExit.resolve(exit);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done();
  }

  /** The port is gone. */
  abandon(error: Error): void {
    if (!this.#hasExited) this.#settleExit.reject(error);
    this.#hasExited = true;
    // What arrived before stays readable; then it ends, as the machine has.
    for (const channel of this.#channels) if (!channel.ended) channel.end();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done();
  }

  #channelOf(flags: number): Channel {
    const channel = this.#channels[flags - 1];
    if (!channel) throw new MalformedMessage("output of an unknown channel");
    return channel;
  }

  #input(): Writable {
    return new Writable({
      highWaterMark: INPUT_WINDOW,
      write: (chunk: Buffer, _encoding, done) => {
        // Input of a process that has ended goes nowhere, as into a pipe whose reader has left; that is no failure here.
        if (this.#hasExited) return done();
        this.#waiting = { chunk, done };
        this.#flushInput();
      },
      final: (done) => {
        if (!this.#hasExited) this.#send(ToGuest.stdinEnd, 0, this.#stream, new Uint8Array());
        done();
      },
    });
  }

  #flushInput(): void {
    const waiting = this.#waiting;
    if (!waiting) return;
    const count = Math.min(this.#inputCredit, waiting.chunk.length);
    if (count > 0) {
      this.#send(ToGuest.stdin, 0, this.#stream, waiting.chunk.subarray(0, count));
      this.#inputCredit -= count;
      waiting.chunk = waiting.chunk.subarray(count);
    }
    if (waiting.chunk.length > 0) return;
    this.#waiting = undefined;
    waiting.done();
  }
}

/** Joins a stream that the guest opened with a new connection on the host; a host that can't be reached just hangs up. */
export function forwardConnection(remote: RemoteProcess, connect: () => Duplex): void {
  const hangUp = () => {
    remote.stdout.destroy();
    remote.stdin.end();
  };
  let local: Duplex;
  try {
    local = connect();
  } catch {
    hangUp();
    return;
  }
  local.once("error", hangUp);
  local.once("close", hangUp);
  remote.stdout.pipe(local);
  local.pipe(remote.stdin);
}

/** A command's side of the supervisor's socket. */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { AegisError, hasErrno } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import type { ExitStory } from "./exits.js";
import { type ClientMessage, fromWireError, type Reply, type Request, type TerminalSize } from "./messages.js";
import { filesOf, isSupervised } from "./store.js";
import type { InstanceConfig } from "./types.js";
import { channels, encodeFrame, encodeMessage, FrameDecoder, parseMessage, writeChunk } from "./wire.js";

/** How long a supervisor may take from holding its lock to listening. */
const listenMs = 10_000;

/** @throws AegisError NOT_RUNNING */
async function dial(home: AegisHome, config: InstanceConfig): Promise<Socket> {
  const { socket: file } = filesOf(home, config.id);
  const deadline = Date.now() + listenMs;
  for (;;) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(file);
        socket.once("connect", () => resolve(socket));
        socket.once("error", reject);
      });
    } catch (error) {
      if (!hasErrno(error, "ENOENT", "ECONNREFUSED", "ENOTDIR")) throw error;
      if (!(await isSupervised(home, config.id)) || Date.now() > deadline) {
        throw new AegisError("NOT_RUNNING", `${config.name} is not running`, { hint: `aegis start ${config.name}` });
      }
      await sleep(20);
    }
  }
}

/** One operation with one answer. */
export async function control(
  home: AegisHome,
  config: InstanceConfig,
  request: Exclude<Request, { op: "attach" } | { op: "exec" } | { op: "hold" }>,
): Promise<Extract<Reply, { done: true }>> {
  const socket = await dial(home, config);
  try {
    socket.write(encodeMessage(request));
    const decoder = new FrameDecoder();
    for await (const chunk of socket) {
      for (const frame of decoder.push(chunk as Buffer)) {
        const reply = parseMessage<Reply>(frame);
        if ("error" in reply) throw fromWireError(reply.error);
        if ("done" in reply) return reply;
      }
    }
  } finally {
    socket.destroy();
  }
  throw supervisorGone(config);
}

/** Keeps a running guest still, with everything on its disks, until it is disposed of. @throws AegisError NOT_RUNNING */
export async function hold(home: AegisHome, config: InstanceConfig): Promise<AsyncDisposable> {
  const socket = await dial(home, config);
  const decoder = new FrameDecoder();
  const chunks = socket[Symbol.asyncIterator]();
  const done = async () => {
    for (;;) {
      const next = await chunks.next();
      if (next.done) throw supervisorGone(config);
      for (const frame of decoder.push(next.value as Buffer)) {
        const reply = parseMessage<Reply>(frame);
        if ("error" in reply) throw fromWireError(reply.error);
        return;
      }
    }
  };
  try {
    socket.write(encodeMessage({ op: "hold" } satisfies Request));
    await done();
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    async [Symbol.asyncDispose]() {
      try {
        socket.write(encodeMessage({ release: true } satisfies ClientMessage));
        await done();
      } finally {
        socket.destroy();
      }
    },
  };
}

/** Where the streams of an attached process go and come from. */
export interface Streams {
  readonly stdin?: NodeJS.ReadableStream | undefined;
  readonly stdout?: NodeJS.WritableStream | undefined;
  readonly stderr?: NodeJS.WritableStream | undefined;
}

export interface Interaction {
  /** How it ended, after all output has been written. @throws AegisError */
  readonly exited: Promise<ExitStory>;
  signal(number: number): void;
  resize(size: TerminalSize): void;
  /** Sends bytes as if typed. */
  input(chunk: Uint8Array): void;
  endInput(): void;
  /** Goes away and leaves the process as it is; `exited` does not settle. */
  detach(): void;
}

/** Attaches to the app, or runs a command beside it. */
export async function interact(
  home: AegisHome,
  config: InstanceConfig,
  request: Extract<Request, { op: "attach" } | { op: "exec" }>,
  streams: Streams,
): Promise<Interaction> {
  const socket = await dial(home, config);
  socket.write(encodeMessage(request));
  let detached = false;
  const say = (message: ClientMessage) => {
    if (socket.writable) socket.write(encodeMessage(message));
  };
  const { stdin } = streams;
  const onData = (chunk: Buffer | string) => {
    if (!socket.writable || writeChunk(socket, channels.stdin, Buffer.from(chunk))) return;
    stdin?.pause();
    socket.once("drain", () => stdin?.resume());
  };
  const onEnd = () => {
    if (socket.writable) socket.write(encodeFrame(channels.stdin, Buffer.alloc(0)));
  };
  const unhook = () => {
    stdin?.off("data", onData).off("end", onEnd);
    stdin?.pause();
  };
  stdin?.on("data", onData).on("end", onEnd);
  const exited = receive(socket, streams, config)
    .finally(unhook)
    .catch((error: unknown) => {
      if (detached) return new Promise<never>(() => undefined);
      throw error;
    });
  exited.catch(() => undefined);
  return {
    exited,
    signal: (number) => say({ signal: number }),
    resize: (size) => say({ resize: size }),
    input: (chunk) => void (socket.writable && writeChunk(socket, channels.stdin, chunk)),
    endInput: onEnd,
    detach() {
      detached = true;
      unhook();
      socket.destroy();
    },
  };
}

async function receive(socket: Socket, streams: Streams, config: InstanceConfig): Promise<ExitStory> {
  const decoder = new FrameDecoder();
  try {
    for await (const chunk of socket) {
      for (const frame of decoder.push(chunk as Buffer)) {
        if (frame.channel === channels.message) {
          const reply = parseMessage<Reply>(frame);
          if ("error" in reply) throw fromWireError(reply.error);
          if ("exit" in reply) return reply.exit;
          continue;
        }
        const to = frame.channel === channels.stdout ? streams.stdout : streams.stderr;
        if (to && !to.write(frame.payload)) await new Promise((resolve) => to.once("drain", resolve));
      }
    }
  } finally {
    socket.destroy();
  }
  throw supervisorGone(config);
}

const supervisorGone = (config: InstanceConfig) =>
  new AegisError("SUPERVISOR_DIED", `the supervisor of ${config.name} is gone`, {
    hint: `see how it ended with "aegis inspect ${config.name}", and start it again`,
  });

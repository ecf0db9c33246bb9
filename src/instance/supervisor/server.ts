/** The supervisor's side of its control socket: one connection, one operation. */
import { chmod } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { GuestProcess } from "../../guest/types.js";
import { AegisError } from "../../support/errors.js";
import { createSocketDirectory } from "../../support/home.js";
import { explainExit } from "../exits.js";
import {
  type ClientMessage,
  type ExecRequest,
  type Reply,
  type Request,
  type StatsReply,
  type TerminalSize,
  toWireError,
} from "../messages.js";
import type { InstanceFiles } from "../store.js";
import { channels, encodeMessage, type Frame, FrameDecoder, parseMessage, writeChunk } from "../wire.js";

/** What the operations act on. */
export interface Controls {
  attach(client: AttachedClient): () => void;
  exec(request: ExecRequest): Promise<GuestProcess>;
  stop(options: { readonly signal?: number | undefined; readonly graceMs?: number | undefined }): Promise<void>;
  kill(signal: number): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  stats(): Promise<StatsReply>;
  /** Resolves when the guest stands still, with what lets it go on. */
  hold(): Promise<() => Promise<void>>;
  /** The app's standard input, once it runs. */
  writeStdin(chunk: Buffer): Promise<void>;
  endStdin(): void;
  resize(size: TerminalSize): void;
  /** Counts as use while an exec or a client is there. */
  busy(): () => void;
  readonly memoryBytes: number;
}

export interface AttachedClient {
  readonly output: boolean;
  readonly foreground: boolean;
  readonly size: TerminalSize | undefined;
  /** False when the client's socket is full; see `drained`. */
  send(channel: number, chunk: Uint8Array): boolean;
  drained(): Promise<void>;
  reply(reply: Reply): void;
}

/** A client that doesn't read may hold this much before it is dropped. */
const mostUnread = 8 << 20;

export async function serve(files: InstanceFiles, controls: Controls): Promise<Server> {
  createSocketDirectory(files.socketDir);
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    void handle(socket, controls).catch((error: unknown) => {
      if (!socket.writable) return;
      socket.end(encodeMessage({ error: toWireError(error) } satisfies Reply));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(files.socket, resolve);
  });
  await chmod(files.socket, 0o600);
  return server;
}

async function handle(socket: Socket, controls: Controls): Promise<void> {
  const frames = framesOf(socket);
  const first = await frames.next();
  if (first.done) return;
  const request = parseMessage<Request>(first.value);
  const done = (reply: Reply = { done: true }) => socket.end(encodeMessage(reply));
  switch (request.op) {
    case "attach":
      return await attach(socket, frames, request, controls);
    case "exec":
      return await exec(socket, frames, request, controls);
    case "stop":
      await controls.stop(request);
      return void done();
    case "kill":
      await controls.kill(request.signal);
      return void done();
    case "pause":
      await controls.pause();
      return void done();
    case "resume":
      await controls.resume();
      return void done();
    case "hold":
      return await hold(socket, frames, controls);
    case "stats":
      return void done({ done: true, stats: await controls.stats() });
    default:
      throw new AegisError("WIRE", `the supervisor does not know "${(request as { op: string }).op}"`);
  }
}

async function* framesOf(socket: Socket): AsyncGenerator<Frame, void> {
  const decoder = new FrameDecoder();
  for await (const chunk of socket) yield* decoder.push(chunk as Buffer);
}

const drained = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (!socket.writable || !socket.writableNeedDrain) return resolve();
    const settle = () => {
      socket.off("drain", settle);
      socket.off("close", settle);
      resolve();
    };
    socket.on("drain", settle);
    socket.on("close", settle);
  });

/** A client that dies lets the guest go on, too. */
async function hold(socket: Socket, frames: AsyncGenerator<Frame, void>, controls: Controls): Promise<void> {
  const letGo = await controls.hold();
  try {
    if (socket.writable) socket.write(encodeMessage({ done: true } satisfies Reply));
    await frames.next();
  } finally {
    await letGo();
  }
  if (socket.writable) socket.end(encodeMessage({ done: true } satisfies Reply));
}

async function attach(
  socket: Socket,
  frames: AsyncGenerator<Frame, void>,
  request: Extract<Request, { op: "attach" }>,
  controls: Controls,
): Promise<void> {
  const detach = controls.attach({
    output: request.output,
    foreground: request.foreground,
    size: request.size,
    send(channel, chunk) {
      if (!socket.writable) return true;
      if (!request.foreground && socket.writableLength > mostUnread) {
        socket.destroy();
        return true;
      }
      return writeChunk(socket, channel, chunk);
    },
    drained: () => drained(socket),
    reply: (reply) => void socket.end(encodeMessage(reply)),
  });
  const idle = controls.busy();
  try {
    for await (const frame of frames) {
      if (frame.channel === channels.message) {
        const message = parseMessage<ClientMessage>(frame);
        if ("signal" in message) await controls.kill(message.signal);
        else if ("resize" in message) controls.resize(message.resize);
      } else if (frame.channel === channels.stdin && request.stdin) {
        if (frame.payload.length === 0) controls.endStdin();
        else await controls.writeStdin(frame.payload);
      }
    }
  } catch {
    // A client that went away in the middle has just detached.
  } finally {
    idle();
    detach();
  }
}

async function exec(
  socket: Socket,
  frames: AsyncGenerator<Frame, void>,
  request: Extract<Request, { op: "exec" }>,
  controls: Controls,
): Promise<void> {
  const idle = controls.busy();
  try {
    const process = await controls.exec(request.process);
    const input = feed(process, frames, request.stdin);
    const pump = async (stream: GuestProcess["stdout"], channel: number) => {
      for await (const chunk of stream) {
        if (socket.writable && !writeChunk(socket, channel, chunk as Buffer)) await drained(socket);
      }
    };
    // A client that goes away takes its command with it, as closing a terminal would.
    socket.once("close", () => process.kill(1));
    const [exit] = await Promise.all([
      process.exited,
      pump(process.stdout, channels.stdout),
      pump(process.stderr, channels.stderr),
    ]);
    const program = request.process.argv[0] ?? "";
    const story = explainExit(exit, { program, memoryBytes: controls.memoryBytes });
    socket.end(encodeMessage({ exit: story } satisfies Reply));
    await Promise.race([input, sleep(0)]);
  } finally {
    idle();
  }
}

async function feed(process: GuestProcess, frames: AsyncGenerator<Frame, void>, stdin: boolean): Promise<void> {
  if (!stdin) process.stdin.end();
  process.stdin.on("error", () => undefined);
  try {
    for await (const frame of frames) {
      if (frame.channel === channels.message) {
        const message = parseMessage<ClientMessage>(frame);
        if ("signal" in message) process.kill(message.signal);
        else if ("resize" in message) process.resize(message.resize.rows, message.resize.cols);
      } else if (frame.channel === channels.stdin && stdin) {
        if (frame.payload.length === 0) process.stdin.end();
        else if (!process.stdin.write(frame.payload)) {
          await new Promise((resolve) => process.stdin.once("drain", resolve).once("close", resolve));
        }
      }
    }
  } catch {
    // The connection ended in the middle of a frame.
  }
}

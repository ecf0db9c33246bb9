/**
 * The host's end of the control channel: waits for hello, sends requests, routes what comes back. The guest is hostile:
 * whatever it sends that the protocol does not allow ends the conversation, and nothing here grows with what it sends.
 */
import type { Duplex } from "node:stream";
import { AegisError } from "../support/errors.js";
import { MalformedMessage } from "./fields.js";
import {
  encodeFrame,
  encodeMessage,
  type Frame,
  FrameReader,
  FromGuest,
  GUEST_STREAM,
  PROTOCOL_VERSION,
  ToGuest,
} from "./frames.js";
import {
  decodeError,
  decodeEvent,
  decodeExit,
  decodeHello,
  decodeStarted,
  decodeStats,
  encodeBoot,
  encodeClock,
  encodeProcess,
  encodeShutdown,
} from "./messages.js";
import { forwardConnection, RemoteProcess } from "./process.js";
import type {
  BootConfig,
  ConnectOptions,
  Guest,
  GuestEvent,
  GuestHello,
  GuestProcess,
  GuestStats,
  ProcessSpec,
  ShutdownOptions,
} from "./types.js";

/** What a request waits for; `process` when it starts one. */
interface Request {
  readonly process?: RemoteProcess;
  resolve(payload: Buffer): void;
  reject(error: Error): void;
}

/**
 * Waits for the guest's hello on its control port.
 * @throws AegisError GUEST_SILENT when none comes in time, GUEST_PROTOCOL when what comes is something else, GUEST_GONE when
 *   the port closes first
 */
export async function connectGuest(control: Duplex, options: ConnectOptions): Promise<Guest> {
  const connection = new Connection(control);
  await connection.greeted(options.timeoutMs);
  return connection;
}

class Connection implements Guest {
  hello!: GuestHello;
  readonly closed: Promise<void>;
  readonly #control: Duplex;
  readonly #reader = new FrameReader();
  readonly #requests = new Map<number, Request>();
  readonly #processes = new Map<number, RemoteProcess>();
  readonly #listeners: ((event: GuestEvent) => void)[] = [];
  /** Events that came before anybody listened; few, and then the oldest go. */
  #early: GuestEvent[] = [];
  /** Of the first boot: a guest boots once, and what is asked of it later does not change its rules. */
  #errorLogs: BootConfig["errorLogs"] | undefined;
  /** Forwarded sockets by number; the guest opens streams to them. */
  readonly #sockets = new Map<number, () => Duplex>();
  #nextSocket = 0;
  #nextStream = 1;
  #failure: Error | undefined;
  #stopped = false;
  #greeting: { resolve(): void; reject(error: Error): void } | undefined;
  #settleClosed!: { resolve(): void; reject(error: Error): void };

  constructor(control: Duplex) {
    this.#control = control;
    this.closed = new Promise((resolve, reject) => {
      this.#settleClosed = { resolve, reject };
    });
    // Requests under way are rejected too: nobody is obliged to watch this one.
    this.closed.catch(() => {});
    control.on("data", (chunk: Buffer) => this.#receive(chunk));
    const over = (cause?: unknown) => this.#end(gone(this.hello !== undefined, cause));
    control.once("error", over);
    control.once("close", () => over());
    control.once("end", () => over());
  }

  async greeted(timeoutMs: number): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.hello) return;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#greeting = { resolve, reject };
        timer = setTimeout(() => {
          const seconds = Math.round(timeoutMs / 100) / 10;
          this.#end(
            new AegisError("GUEST_SILENT", `the guest said nothing within ${seconds} s`, {
              hint: "the end of its console tells how far it came",
            }),
          );
        }, timeoutMs);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  async boot(config: BootConfig): Promise<GuestProcess | undefined> {
    const payload = encodeBoot(config, new Date(), this.#addSockets(config.process));
    this.#errorLogs ??= config.errorLogs;
    if (config.process) return await this.#start(ToGuest.boot, payload, "GUEST_BOOT");
    await this.#request((stream) => this.#sendMessage(ToGuest.boot, stream, payload), "GUEST_BOOT");
    return undefined;
  }

  async exec(process: ProcessSpec): Promise<GuestProcess> {
    return await this.#start(ToGuest.exec, encodeProcess(process, this.#addSockets(process)), "GUEST_EXEC");
  }

  async stats(): Promise<GuestStats> {
    const payload = await this.#ask(ToGuest.stats);
    return this.#decoded(() => decodeStats(payload));
  }

  async setClock(): Promise<void> {
    await this.#ask(ToGuest.clock, encodeClock(new Date()));
  }

  async sync(): Promise<void> {
    await this.#ask(ToGuest.sync);
  }

  async shutdown(options: ShutdownOptions): Promise<void> {
    this.#stopped = true;
    await this.#ask(ToGuest.shutdown, encodeShutdown(options));
  }

  on(listener: (event: GuestEvent) => void): void {
    this.#listeners.push(listener);
    const early = this.#early;
    this.#early = [];
    for (const event of early) listener(event);
  }

  #addSockets(process: ProcessSpec | undefined): number {
    const first = this.#nextSocket;
    for (const { connect } of process?.sandbox?.sockets ?? []) this.#sockets.set(this.#nextSocket++, connect);
    return first;
  }

  #onConnect(frame: Frame): void {
    if (frame.stream < GUEST_STREAM || this.#processes.has(frame.stream) || frame.payload.length !== 4)
      throw new MalformedMessage("a connection on a stream that is not the guest's");
    const connect = this.#sockets.get(frame.payload.readUInt32LE());
    if (!connect) throw new MalformedMessage("a connection to a socket that nobody forwards");
    const remote = new RemoteProcess(frame.stream, (type, flags, to, bytes) => this.#send(type, flags, to, bytes));
    this.#processes.set(frame.stream, remote);
    forwardConnection(remote, connect);
  }

  #ask(type: number, payload: Uint8Array = new Uint8Array()): Promise<Buffer> {
    return this.#request((stream) => this.#send(type, 0, stream, payload), "GUEST_REQUEST");
  }

  async #start(type: number, payload: Buffer, code: string): Promise<RemoteProcess> {
    const stream = this.#nextStream;
    const process = new RemoteProcess(stream, (frame, flags, to, bytes) => this.#send(frame, flags, to, bytes));
    const started = await this.#request((to) => this.#sendMessage(type, to, payload), code, process);
    process.pid = this.#decoded(() => decodeStarted(started));
    return process;
  }

  #request(send: (stream: number) => void, code: string, process?: RemoteProcess): Promise<Buffer> {
    if (this.#failure) return Promise.reject(this.#failure);
    const stream = this.#nextStream++;
    return new Promise((resolve, reject) => {
      this.#requests.set(stream, {
        ...(process && { process }),
        resolve,
        reject: (error) =>
          reject(
            error instanceof Refusal ? new AegisError(code, error.message, { details: { errno: error.errno } }) : error,
          ),
      });
      if (process) this.#processes.set(stream, process);
      send(stream);
    });
  }

  #sendMessage(type: number, stream: number, payload: Buffer): void {
    for (const frame of encodeMessage(type, stream, payload)) this.#write(frame);
  }

  #send(type: number, flags: number, stream: number, payload: Uint8Array): void {
    this.#write(encodeFrame(type, flags, stream, payload));
  }

  #write(frame: Buffer): void {
    if (!this.#failure && this.#control.writable) this.#control.write(frame);
  }

  #receive(chunk: Buffer): void {
    if (this.#failure) return;
    try {
      for (const frame of this.#reader.push(chunk)) this.#dispatch(frame);
    } catch (error) {
      this.#end(error instanceof MalformedMessage ? broken(error) : (error as Error));
    }
  }

  #dispatch(frame: Frame): void {
    if (!this.hello) {
      if (frame.type !== FromGuest.hello) throw new MalformedMessage("the first message is not hello");
      this.#onHello(decodeHello(frame.payload));
    } else if (frame.type === FromGuest.ok) {
      this.#take(frame.stream).resolve(Buffer.from(frame.payload));
    } else if (frame.type === FromGuest.error) {
      this.#onError(frame);
    } else if (frame.type === FromGuest.connect) {
      this.#onConnect(frame);
    } else if (frame.type === FromGuest.event) {
      this.#onEvent(decodeEvent(frame.payload, this.#errorLogs ?? []));
    } else {
      this.#onProcessFrame(frame);
    }
  }

  #onHello(hello: GuestHello): void {
    if (hello.protocolVersion !== PROTOCOL_VERSION) {
      const { harnessVersion, protocolVersion } = hello;
      this.#end(
        new AegisError(
          "GUEST_PROTOCOL",
          `harness ${harnessVersion} speaks version ${protocolVersion}, not ${PROTOCOL_VERSION}`,
          {
            hint: "rebuild the boot disk: aegis doctor --fix",
          },
        ),
      );
      return;
    }
    this.hello = hello;
    this.#greeting?.resolve();
  }

  #take(stream: number): Request {
    const request = this.#requests.get(stream);
    if (!request) throw new MalformedMessage("an answer to what nobody asked");
    this.#requests.delete(stream);
    return request;
  }

  #onError(frame: Frame): void {
    const { errno, message } = decodeError(frame.payload);
    const request = this.#take(frame.stream);
    this.#processes.delete(frame.stream);
    request.process?.abandon(new Refusal(message, errno));
    request.reject(new Refusal(message, errno));
  }

  #onEvent(event: GuestEvent | undefined): void {
    if (!event) return;
    if (this.#listeners.length === 0) this.#early = [...this.#early.slice(-63), event];
    for (const listener of this.#listeners) listener(event);
  }

  #onProcessFrame(frame: Frame): void {
    const process = this.#processes.get(frame.stream);
    if (!process) throw new MalformedMessage(`a frame of type ${frame.type} for a process that there is not`);
    switch (frame.type) {
      case FromGuest.output:
        process.onOutput(frame.flags, frame.payload);
        break;
      case FromGuest.outputEnd:
        process.onOutputEnd(frame.flags);
        break;
      case FromGuest.stdinCredit:
        if (frame.payload.length !== 4) throw new MalformedMessage("input credit has another width");
        process.onInputCredit(frame.payload.readUInt32LE());
        break;
      case FromGuest.exit: {
        process.onExit(decodeExit(frame.payload));
        // A program that could not be started is answered by its exit alone.
        const request = this.#requests.get(frame.stream);
        this.#requests.delete(frame.stream);
        request?.resolve(Buffer.alloc(0));
        break;
      }
      default:
        throw new MalformedMessage(`a frame of unknown type ${frame.type}`);
    }
    if (process.done) this.#processes.delete(frame.stream);
  }

  #decoded<T>(decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      const failure = error instanceof MalformedMessage ? broken(error) : (error as Error);
      this.#end(failure);
      throw failure;
    }
  }

  #end(failure: Error): void {
    if (this.#failure) return;
    this.#failure = failure;
    for (const request of this.#requests.values()) request.reject(failure);
    this.#requests.clear();
    for (const process of this.#processes.values()) process.abandon(failure);
    this.#processes.clear();
    this.#greeting?.reject(failure);
    const orderly = this.#stopped && failure instanceof AegisError && failure.code === "GUEST_GONE";
    if (orderly) this.#settleClosed.resolve();
    else this.#settleClosed.reject(failure);
    this.#control.destroy();
  }
}

/** The guest answered a request with an error. */
class Refusal extends Error {
  constructor(
    message: string,
    readonly errno: string,
  ) {
    super(message);
  }
}

function gone(greeted: boolean, cause?: unknown): AegisError {
  const when = greeted ? "" : ", before the guest said anything";
  return new AegisError("GUEST_GONE", `the machine ended, or closed its control port${when}`, {
    hint: "the end of its console tells why",
    ...(cause === undefined ? {} : { cause }),
  });
}

function broken(cause: MalformedMessage): AegisError {
  return new AegisError("GUEST_PROTOCOL", `the guest broke the control protocol: ${cause.message}`, {
    hint: "the machine can't be trusted any more: stop it",
    cause,
  });
}

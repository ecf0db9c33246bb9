/**
 * What the app printed, as JSON lines `{"time","stream","text"}` in `log.jsonl`: one object per line of output, secrets
 * redacted. A file that has grown to its limit becomes `log.1.jsonl`.
 */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";
import { open, stat } from "node:fs/promises";
import path from "node:path";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as sleep } from "node:timers/promises";
import { hasErrno } from "../support/errors.js";

export type LogStream = "stdout" | "stderr" | "aegis";

export interface LogLine {
  /** ISO 8601 with milliseconds. */
  readonly time: string;
  readonly stream: LogStream;
  readonly text: string;
  /** The line went on: it was longer than a log line may be, or the app ended within it. */
  readonly partial?: boolean;
}

const maxLine = 16 << 10;
const maxFile = 16 << 20;

export interface LogWriter {
  write(stream: LogStream, chunk: Uint8Array): void;
  /** A whole line of aegis's own. */
  say(text: string): void;
  /** Writes out what has no newline yet. */
  flush(): void;
  close(): void;
}

export function openLogWriter(file: string, redact: (text: string) => string): LogWriter {
  let fd = openSync(file, "a", 0o600);
  let size = fstatSync(fd).size;
  const held = new Map<LogStream, { decoder: StringDecoder; text: string }>();

  /** Lines that came together are written together: a chatty app is held up by every write. */
  const put = (stream: LogStream, texts: readonly string[], partial: boolean) => {
    if (texts.length === 0) return;
    // One object's JSON, with the line left out of the middle.
    const head = `{"time":"${new Date().toISOString()}","stream":"${stream}","text":`;
    const tail = partial ? ',"partial":true}\n' : "}\n";
    const bytes = Buffer.from(texts.map((text) => head + JSON.stringify(redact(text)) + tail).join(""));
    if (size + bytes.length > maxFile && size > 0) {
      closeSync(fd);
      renameSync(file, olderLog(file));
      fd = openSync(file, "a", 0o600);
      size = 0;
    }
    size += writeSync(fd, bytes);
  };

  return {
    write(stream, chunk) {
      let state = held.get(stream);
      if (!state) {
        state = { decoder: new StringDecoder("utf8"), text: "" };
        held.set(stream, state);
      }
      const text = state.text + state.decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      const lines = text.split("\n");
      let rest = lines.pop()!;
      put(stream, lines, false);
      while (rest.length > maxLine) {
        put(stream, [rest.slice(0, maxLine)], true);
        rest = rest.slice(maxLine);
      }
      state.text = rest;
    },
    say: (text) => put("aegis", [text], false),
    flush() {
      for (const [stream, state] of held) {
        const rest = state.text + state.decoder.end();
        if (rest !== "") put(stream, [rest], true);
        state.text = "";
      }
    },
    close: () => closeSync(fd),
  };
}

const olderLog = (file: string) => path.join(path.dirname(file), "log.1.jsonl");

export interface ReadLogOptions {
  /** Only the last so many lines. */
  readonly tail?: number | undefined;
  /** Milliseconds since the epoch. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  /** Goes on until this resolves to false and everything is read. */
  readonly follow?: (() => Promise<boolean>) | undefined;
}

/** Lines of a log in order, and then those that come, as long as `follow` says. */
export async function* readLog(file: string, options: ReadLogOptions = {}): AsyncGenerator<LogLine> {
  const wanted = (line: LogLine) =>
    (options.since === undefined || Date.parse(line.time) >= options.since) &&
    (options.until === undefined || Date.parse(line.time) <= options.until);
  const reader = new LogReader(file);
  try {
    const past = [...(await readLines(olderLog(file))), ...(await reader.more())].filter(wanted);
    yield* options.tail === undefined ? past : options.tail === 0 ? [] : past.slice(-options.tail);
    if (!options.follow) return;
    for (;;) {
      const goesOn = await options.follow();
      const lines = await reader.more();
      yield* lines.filter(wanted);
      if (!goesOn && lines.length === 0) return;
      if (lines.length === 0) await sleep(50);
    }
  } finally {
    await reader.close();
  }
}

async function readLines(file: string): Promise<readonly LogLine[]> {
  const reader = new LogReader(file);
  try {
    return await reader.more();
  } finally {
    await reader.close();
  }
}

/** Reads on from where it stopped, also over a change of files. */
class LogReader {
  #handle: Awaited<ReturnType<typeof open>> | undefined;
  #inode = 0;
  #offset = 0;
  #rest = "";
  #decoder = new StringDecoder("utf8");

  constructor(private readonly file: string) {}

  async more(): Promise<readonly LogLine[]> {
    const lines = await this.#drain();
    const now = await stat(this.file).catch(() => undefined);
    if (now && now.ino !== this.#inode) {
      await this.close();
      return [...lines, ...(await this.#drain())];
    }
    return lines;
  }

  async #drain(): Promise<readonly LogLine[]> {
    if (!this.#handle) {
      this.#handle = await open(this.file, "r").catch((error) => {
        if (hasErrno(error, "ENOENT")) return undefined;
        throw error;
      });
      if (!this.#handle) return [];
      this.#inode = (await this.#handle.stat()).ino;
      [this.#offset, this.#rest] = [0, ""];
    }
    const lines: LogLine[] = [];
    const buffer = Buffer.alloc(1 << 18);
    for (;;) {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.#offset);
      if (bytesRead === 0) return lines;
      this.#offset += bytesRead;
      const parts = (this.#rest + this.#decoder.write(buffer.subarray(0, bytesRead))).split("\n");
      this.#rest = parts.pop()!;
      for (const part of parts) {
        const line = parseLine(part);
        if (line) lines.push(line);
      }
    }
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }
}

/** A line torn by a crash is skipped. */
function parseLine(text: string): LogLine | undefined {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return undefined;
  }
}

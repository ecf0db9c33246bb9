/** Keeps what a guest's kernel prints: in a file up to a limit (a guest must not fill the host's disk), the end in memory. */
import { closeSync, openSync, writeSync } from "node:fs";
import type { Readable } from "node:stream";

const FILE_LIMIT = 4 * 1024 * 1024;
const TAIL_LIMIT = 64 * 1024;

export interface ConsoleRecord {
  tail(lines: number): string;
}

/** Appends `source` to `file` until it ends. */
export function recordConsole(source: Readable, file: string): ConsoleRecord {
  const fd = openSync(file, "a", 0o600);
  let room = FILE_LIMIT;
  let end = Buffer.alloc(0);
  source.on("data", (chunk: Buffer) => {
    if (room > 0) writeSync(fd, chunk, 0, Math.min(room, chunk.length));
    room -= chunk.length;
    end = Buffer.concat([end, chunk]).subarray(-TAIL_LIMIT);
  });
  // A VMM that is killed may reset the connection; that is an end like any other.
  source.on("error", () => undefined);
  source.once("close", () => closeSync(fd));
  return {
    tail: (lines) => {
      const all = end.toString("utf8").replaceAll("\r", "").trimEnd().split("\n");
      return all.slice(-lines).join("\n");
    },
  };
}

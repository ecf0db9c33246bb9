/**
 * The `zstd` program as a filter, for Nodes without zstd of their own: it streams, and works beside the main thread. fzstd,
 * which is always there, is many times slower and can't compress.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import path from "node:path";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

let found: Promise<string | undefined> | undefined;

/** Where the program is, if it is installed. */
export function zstdTool(): Promise<string | undefined> {
  found ??= (async () => {
    for (const directory of (process.env.PATH ?? "").split(path.delimiter)) {
      const file = path.join(directory, "zstd");
      if (!path.isAbsolute(directory)) continue;
      const usable = await access(file, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (usable) return file;
    }
    return undefined;
  })();
  return found;
}

export interface Filter {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Rejects when the program fails; the message is its own. */
  readonly exited: Promise<void>;
  /** Ends it if it still runs. */
  kill(): Promise<void>;
}

export function startFilter(program: string, args: readonly string[]): Filter {
  const child: ChildProcessByStdio<Writable, Readable, Readable> = spawn(program, args, {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = `${said}${text}`.slice(-500);
  });
  const exited = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${path.basename(program)} ended with ${signal ?? code}: ${said.trim()}`));
    });
  });
  exited.catch(() => undefined);
  // A program that fails closes its input; its status tells why.
  child.stdin.on("error", () => undefined);
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    exited,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await exited.catch(() => undefined);
    },
  };
}

/** The uncompressed bytes of `source`; failures of the source are thrown as they are. */
export async function* filterThrough(
  source: AsyncIterable<Uint8Array>,
  program: string,
  args: readonly string[],
): AsyncGenerator<Uint8Array> {
  const filter = startFilter(program, args);
  let sourceFailure: unknown;
  async function* copies() {
    try {
      for await (const chunk of source) yield Buffer.from(chunk);
    } catch (error) {
      sourceFailure = error;
      throw error;
    }
  }
  const feeding = pipeline(Readable.from(copies(), { objectMode: true, highWaterMark: 2 }), filter.stdin);
  feeding.catch(() => undefined);
  try {
    yield* filter.stdout as AsyncIterable<Uint8Array>;
    await filter.exited;
    await feeding;
  } catch (error) {
    throw sourceFailure ?? error;
  } finally {
    await filter.kill();
    await feeding.catch(() => undefined);
  }
}

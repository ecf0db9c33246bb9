/**
 * Helper processes that can't outlive this one. Each is started through aegis-guard, which has the kernel kill it when
 * its parent dies, in a session of its own (a terminal's Ctrl-C is for aegis to handle), with an environment that holds no
 * secret.
 */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import type { Duplex, Readable } from "node:stream";
import { AegisError } from "../support/errors.js";
import { helper } from "./parts/locate.js";
import type { MachineExit } from "./types.js";

export interface BoundProcess {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly exited: Promise<MachineExit>;
  /** This end of the socket pair that the process holds as file descriptor `fd` (a `pipe` in its stdio, from 3 on). */
  channel(fd: number): Duplex;
  /** SIGKILL, then waits for the end. */
  kill(): Promise<void>;
}

const MESSAGE_LIMIT = 4096;

/** The guard binds others; programs of ours that bind themselves take the parent's pid and start without it. */
export function startGuarded(
  program: string,
  args: readonly string[],
  options: { readonly stdio: StdioOptions; readonly readOnly?: readonly string[]; readonly cwd?: string },
): Promise<BoundProcess> {
  const hidden = (options.readOnly ?? []).flatMap((directory) => ["--read-only", directory]);
  return startBound(helper("aegis-guard"), [String(process.pid), ...hidden, "--", program, ...args], options);
}

/** Starts `program`, which itself must see to it that it dies with this process. */
export async function startBound(
  program: string,
  args: readonly string[],
  options: { readonly stdio: StdioOptions; readonly cwd?: string },
): Promise<BoundProcess> {
  const child = spawn(program, [...args], {
    stdio: options.stdio,
    cwd: options.cwd,
    detached: true,
    env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  let message = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    message = (message + text).slice(-MESSAGE_LIMIT);
  });
  // Not "close": that waits for channels that nobody may be reading.
  const said = child.stderr ? once(child.stderr, "close") : undefined;
  const exited = new Promise<MachineExit>((resolve) => {
    child.once("exit", async (code, signal) => {
      await said;
      resolve({ code, signal, message: message.trim() });
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve).once("error", (error) => {
      reject(new AegisError("VMM_FAILED", `${program} can't be started`, { cause: error }));
    });
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  const channel = (fd: number) => child.stdio[fd as 3] as Duplex;
  return { pid: child.pid!, child, exited, channel, kill };
}

/** Resolves with the first line of a stream, or rejects with `ended` when the process ends before it. */
export function firstLine(
  stream: Readable,
  process: BoundProcess,
  ended: (exit: MachineExit) => Error,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (end >= 0) resolve(text.slice(0, end));
    });
    process.exited.then((exit) => reject(ended(exit)), reject);
  });
}

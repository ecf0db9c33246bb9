/** What a bench row works with: timing in fresh processes, the best of several runs, facts in one shape. */
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";

export interface Bench {
  readonly root: string;
  /** An empty directory, removed at the end. */
  readonly scratch: string;
  readonly heavy: boolean;
  readonly repeat: number;
  /** Bundle of task.ts: aegis's own work, each in a process of its own. */
  readonly task: string;
}

export interface Amount {
  /** Milliseconds or bytes. */
  readonly value: number;
  readonly unit: "ms" | "bytes";
}

export interface BenchLine {
  readonly what: string;
  readonly ours?: Amount;
  readonly peer?: Amount & { readonly name: string };
  readonly goal?: { readonly text: string; readonly met: boolean };
  readonly note?: string;
  readonly facts?: Readonly<Record<string, number | string>>;
}

export type BenchRow = (bench: Bench) => Promise<readonly BenchLine[]>;

export const ms = (value: number): Amount => ({ value, unit: "ms" });
export const bytes = (value: number): Amount => ({ value, unit: "bytes" });

export interface TaskResult {
  readonly milliseconds: number;
  /** Of the whole process. */
  readonly peakBytes: number;
  readonly facts: Readonly<Record<string, number>>;
}

const run = promisify(execFile);

/** Runs one of task.ts's tasks; its time is the work's, without the start of Node. */
export async function runTask(bench: Bench, name: string, ...words: readonly string[]): Promise<TaskResult> {
  const { stdout } = await run(process.execPath, ["--enable-source-maps", bench.task, name, ...words], {
    maxBuffer: 1 << 24,
  });
  return JSON.parse(stdout) as TaskResult;
}

/** Milliseconds that a shell command takes; its output is shown when it fails. */
export async function timeShell(command: string, env: NodeJS.ProcessEnv = {}): Promise<number> {
  const started = process.hrtime.bigint();
  await shell(command, env);
  return Number(process.hrtime.bigint() - started) / 1e6;
}

export async function shell(command: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const child = spawn("bash", ["-euo", "pipefail", "-c", command], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let errors = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (status !== 0) throw new Error(`${command}: exit status ${status}\n${errors || out}`);
  return out;
}

/**
 * The fastest of `repeat` rounds of each; rounds alternate, so that both sides meet the same machine. `reset` runs before
 * every measurement.
 */
export async function alternate<
  A extends { milliseconds: number } | number,
  B extends { milliseconds: number } | number,
>(
  repeat: number,
  ours: () => Promise<A>,
  peer: () => Promise<B>,
  reset: () => Promise<unknown>,
): Promise<readonly [A, B]> {
  let bestOurs: A | undefined;
  let bestPeer: B | undefined;
  for (let round = 0; round < repeat; round++) {
    await reset();
    bestOurs = faster(bestOurs, await ours());
    await reset();
    bestPeer = faster(bestPeer, await peer());
  }
  return [bestOurs!, bestPeer!];
}

function faster<T extends { milliseconds: number } | number>(a: T | undefined, b: T): T {
  const time = (it: { milliseconds: number } | number) => (typeof it === "number" ? it : it.milliseconds);
  return a === undefined || time(b) < time(a) ? b : a;
}

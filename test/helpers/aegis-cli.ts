/** The real `aegis` with a home of its own: what tests of whole commands and of machines use. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { openHome } from "../../src/support/home.js";
import { baseImage } from "./base-images.js";

const program = path.resolve(import.meta.dirname, "../../bin/aegis.js");

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string | Buffer | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly cwd?: string | undefined;
}

export interface AegisUnderTest {
  readonly home: string;
  /** A directory for the test's own files. */
  readonly scratch: string;
  /** Arguments for spawn: program and first arguments. */
  readonly command: readonly [string, string];
  readonly env: NodeJS.ProcessEnv;
  run(...args: string[]): Promise<CommandResult>;
  runWith(options: RunOptions, ...args: string[]): Promise<CommandResult>;
  /** Like `run`, and throws when the status is not 0; trimmed standard output. */
  ok(...args: string[]): Promise<string>;
  start(...args: string[]): ChildProcess;
  importBase(ref: Parameters<typeof baseImage>[0], name: string, ...changes: string[]): Promise<void>;
  inspect(name: string): Promise<Inspected>;
  /** Processes, sockets and temporary files that belong to this home and should not be there when all is down. */
  leftovers(): Promise<readonly string[]>;
  dispose(): Promise<void>;
}

/** The part of `aegis inspect` that tests look at. */
export interface Inspected {
  readonly id: string;
  readonly state: {
    readonly status: string;
    readonly exitCode?: number;
    readonly reason?: string;
    readonly supervisorPid?: number;
    readonly vmmPid?: number;
    readonly restartCount?: number;
    readonly oomKilled?: boolean;
    readonly pausedBy?: string;
  };
  readonly files: { readonly directory: string };
  readonly origins: Readonly<Record<string, string>>;
}

export async function aegisUnderTest(): Promise<AegisUnderTest> {
  const root = await mkdtemp(path.join(tmpdir(), "aegis-vm-"));
  const home = path.join(root, "home");
  const scratch = await mkdtemp(path.join(root, "scratch-"));
  const env: NodeJS.ProcessEnv = { ...process.env, AEGIS_HOME: home, NO_COLOR: "1", AEGIS_BOOT_TIMEOUT: "120s" };
  const { sockets } = openHome(env);

  const runWith = (options: RunOptions, ...args: string[]) =>
    new Promise<CommandResult>((resolve) => {
      const settings = { env: { ...env, ...options.env }, cwd: options.cwd ?? scratch, maxBuffer: 64 << 20 };
      const child = execFile(process.execPath, [program, ...args], settings, (error, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : 255) : 0;
        resolve({ code, stdout, stderr });
      });
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(options.stdin ?? "");
    });
  const run = (...args: string[]) => runWith({}, ...args);
  const ok = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args);
    if (code !== 0) throw new Error(`aegis ${args.join(" ")}: status ${code}\n${stdout}${stderr}`);
    return stdout.trim();
  };
  const leftovers = async () => {
    const found: string[] = [];
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const cmdline = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ");
      if (Number(pid) !== process.pid && (cmdline.includes(root) || cmdline.includes(sockets))) found.push(cmdline);
    }
    for (const name of await readdir(sockets).catch(() => [])) found.push(path.join(sockets, name));
    for (const name of await readdir(path.join(home, "instances")).catch(() => [])) {
      if (name.startsWith(".")) found.push(name);
    }
    return found;
  };
  return {
    home,
    scratch,
    command: [process.execPath, program],
    env,
    run,
    runWith,
    ok,
    leftovers,
    start: (...args) => spawn(process.execPath, [program, ...args], { env, cwd: scratch, stdio: "pipe" }),
    async importBase(ref, name, ...changes) {
      const options = changes.flatMap((change) => ["--change", change]);
      await ok("import", ...options, await baseImage(ref), name);
    },
    inspect: async (name) => (JSON.parse(await ok("inspect", name)) as Inspected[])[0]!,
    async dispose() {
      const ids = (await run("ps", "-aq")).stdout.split("\n").filter((id) => id !== "");
      if (ids.length > 0) await run("rm", "-f", ...ids);
      await rm(root, { recursive: true, force: true });
      await rm(sockets, { recursive: true, force: true });
    },
  };
}

/** Asks until the answer is one, for things whose event can't be awaited from outside; the test's own time is the bound. */
export async function eventually<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask().catch(() => undefined);
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

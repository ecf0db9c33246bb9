/**
 * Runs a step with runc on an overlay of loop-mounted image disks. Everything is mounted in a mount and pid namespace of its
 * own, whose first process dies with this one: however a build ends, the kernel takes mounts, loop devices and processes
 * back. No cgroup is used, so none has to be delegated.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:fs";
import { access, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { AegisError, hasErrno } from "../../support/errors.js";
import { temporaryPath } from "../../support/files.js";
import type { AegisHome } from "../../support/home.js";
import { containerScript } from "./container-script.js";
import { relaySockets } from "./socket-relay.js";
import type { Executor, RunOutcome, RunRequest } from "./types.js";

export interface ContainerTools {
  readonly runc: string;
  /** Gives a step a network of its own; without it steps use the host's. */
  readonly slirp4netns: string | undefined;
}

/** The programs that the container executor needs, or the first that is missing. */
export async function findContainerTools(
  env: NodeJS.ProcessEnv,
): Promise<ContainerTools | { readonly missing: string }> {
  for (const name of ["unshare", "setpriv", "mount", "umount"]) {
    if (!(await findProgram(name, env))) return { missing: name };
  }
  const runc = await findProgram("runc", env);
  return runc ? { runc, slirp4netns: await findProgram("slirp4netns", env) } : { missing: "runc" };
}

async function findProgram(name: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const directories = [...(env.PATH ?? "").split(":"), "/usr/sbin", "/sbin", "/usr/bin", "/bin"].filter(
    path.isAbsolute,
  );
  for (const directory of directories) {
    try {
      await access(path.join(directory, name), constants.X_OK);
      return path.join(directory, name);
    } catch (error) {
      if (!hasErrno(error, "ENOENT", "EACCES", "ENOTDIR")) throw error;
    }
  }
  return undefined;
}

export function containerExecutor(home: AegisHome, tools: ContainerTools): Executor {
  return { name: "container", stacksScratch: true, run: (request) => run(home, tools, request) };
}

async function run(home: AegisHome, tools: ContainerTools, request: RunRequest): Promise<RunOutcome> {
  const work = temporaryPath(home.tmp, "run");
  await mkdir(work, { mode: 0o700 });
  const slirp4netns = request.network === "default" ? tools.slirp4netns : undefined;
  await using sockets = await relaySockets(home, request.mounts);
  const script = await containerScript(
    { ...request, mounts: sockets.mounts },
    {
      work,
      home,
      runc: tools.runc,
      slirp4netns,
      capabilities: await ownCapabilities(),
      resolver: await resolverFile(slirp4netns !== undefined),
    },
  );
  try {
    await writeFile(path.join(work, "run.sh"), script.text);
    await supervise(work, script.input, request);
    return await outcome(work);
  } finally {
    script.caches.release();
    await rm(work, { recursive: true, force: true });
  }
}

async function supervise(work: string, input: string, request: RunRequest): Promise<void> {
  // pdeathsig and --kill-child: when aegis is killed, so is the namespace's first process, and with it all others.
  const words =
    "--pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc --propagation private sh run.sh".split(
      " ",
    );
  const child = spawn("setpriv", words, { cwd: work, stdio: ["pipe", "pipe", "pipe"] });
  child.stdout.on("data", (chunk: Buffer) => request.output("stdout", chunk));
  child.stderr.on("data", (chunk: Buffer) => request.output("stderr", chunk));
  // A script that fails early closes its end; its own report says more than EPIPE.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const abort = () => child.kill("SIGKILL");
  request.signal?.addEventListener("abort", abort);
  try {
    await once(child, "close");
  } finally {
    request.signal?.removeEventListener("abort", abort);
  }
  request.signal?.throwIfAborted();
}

async function outcome(work: string): Promise<RunOutcome> {
  const read = async (name: string) => await readFile(path.join(work, name), "utf8").catch(() => "");
  const status = (await read("status")).trim();
  const problem = runcProblem(await read("runc.log"));
  if (!/^\d+$/.test(status)) {
    throw new AegisError("CONTAINER_SETUP", "the container for a RUN step could not be set up", {
      hint: "the container executor needs root, loop devices and overlay mounts; --isolation vm needs none of them",
      context: [await read("setup.log"), problem ?? ""].join("\n").trim(),
    });
  }
  if (problem === undefined) return { exitCode: Number(status), oomKilled: false };
  // The step's own program could not be started, which is the step's failure; anything else is the executor's.
  const startError = /(exec|chdir to cwd|executable file|permission denied).*/.exec(problem)?.[0];
  if (startError !== undefined) return { exitCode: 127, oomKilled: false, startError };
  throw new AegisError("CONTAINER_SETUP", "runc could not start a container for a RUN step", {
    hint: "see what runc says; --isolation vm does without it",
    context: `${problem}\n${await read("network.log")}`.trim(),
  });
}

/** The last error that runc logged, if it failed itself. */
function runcProblem(log: string): string | undefined {
  for (const line of log.trim().split("\n").reverse()) {
    if (!line.includes('"level":"error"')) continue;
    try {
      const record = JSON.parse(line) as { readonly msg?: string };
      if (record.msg?.startsWith("runc run failed")) return record.msg.replace(/^runc run failed: /, "");
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return undefined;
}

/** slirp4netns forwards DNS at 10.0.2.3; with the host's network the host's own servers are used. */
async function resolverFile(isolated: boolean): Promise<string> {
  const host = await readFile("/etc/resolv.conf", "utf8").catch(() => "");
  const lines = host.split("\n").filter((line) => /^\s*(nameserver|search|domain|options)\s/.test(line));
  if (!isolated) return `${lines.join("\n")}\n`;
  return `${["nameserver 10.0.2.3", ...lines.filter((line) => !/^\s*nameserver\s/.test(line))].join("\n")}\n`;
}

const capabilityNames = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
  "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN " +
  "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE " +
  "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ"
).split(" ");

/** Capabilities of this process: asking runc for one more than these fails. linux/capability.h numbers them. */
async function ownCapabilities(): Promise<ReadonlySet<string>> {
  const status = await readFile("/proc/self/status", "utf8");
  const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  return new Set(capabilityNames.filter((_, i) => (bits >> BigInt(i)) & 1n).map((name) => `CAP_${name}`));
}

/**
 * Runs a step in a microVM: the harness boots on the same image disks with a scratch disk above them, and starts the step in
 * a sandbox that looks like the container executor's. Nothing is mounted on the host; what the step wrote is read from the
 * scratch disk after the machine has ended in order.
 */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { availableParallelism, totalmem } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import type { ForwardedSocket, GuestFile, GuestMount } from "../../guest/index.js";
import { AegisError } from "../../support/errors.js";
import { type AegisHome, createSocketDirectory, removeSocketDirectory } from "../../support/home.js";
import type { Machine } from "../../vmm/types.js";
import { type CacheDiskLease, type CacheLease, leaseCacheDisk, leaseCaches } from "../cache/mounts.js";
import type { CacheVolume, Executor, RunOutcome, RunRequest } from "./types.js";

/** Hello comes within two seconds even by emulation; a machine shared with others may need more. */
const helloTimeoutMs = 60_000;
const shutdownGraceMs = 10_000;
const exitGraceMs = 2000;

export function vmExecutor(home: AegisHome): Executor {
  return { name: "vm", stacksScratch: false, run: (request) => run(home, request) };
}

interface Devices {
  readonly disks: { readonly path: string; readonly readOnly: boolean }[];
  readonly mounts: GuestMount[];
  readonly files: GuestFile[];
  readonly sockets: ForwardedSocket[];
  /** The step's caches, and the disk that they are on. */
  caches: (CacheLease & { readonly on: CacheDiskLease }) | undefined;
}

async function run(home: AegisHome, request: RunRequest): Promise<RunOutcome> {
  const id = `b${process.pid}-${randomBytes(3).toString("hex")}`;
  const socketDir = path.join(home.sockets, id);
  const consoleLog = path.join(home.tmp, `console-${id}.log`);
  const devices: Devices = { disks: [], mounts: [], files: [], sockets: [], caches: undefined };
  createSocketDirectory(socketDir);
  try {
    await attach(home, request, devices);
    return await withMachine(home, request, { id, socketDir, consoleLog, devices });
  } finally {
    devices.caches?.on.release();
    devices.caches?.release();
    removeSocketDirectory(socketDir);
    await rm(consoleLog, { force: true });
  }
}

async function attach(home: AegisHome, request: RunRequest, devices: Devices): Promise<void> {
  for (const { disk, directory } of request.lowers) {
    if (directory !== "/") throw new AegisError("INTERNAL", "a machine's lowers are whole disks");
    devices.disks.push({ path: disk, readOnly: true });
  }
  devices.disks.push({ path: request.scratch, readOnly: false });
  const volumes = request.mounts.flatMap((mount) => (mount.type === "cache" ? [mount.cache] : []));
  if (volumes.length > 0) devices.caches = await leaseWithDisk(home, volumes);
  for (const mount of request.mounts) {
    switch (mount.type) {
      case "tmpfs":
        devices.mounts.push({ type: "tmpfs", target: mount.target, size: mount.size, mode: mount.mode });
        break;
      case "file": {
        const { target, mode, uid, gid, content } = mount;
        devices.files.push({ path: target, mode, owner: `${uid}:${gid}`, content });
        break;
      }
      case "disk": {
        const { target, subpath, readOnly } = mount;
        const disk = attachDisk(devices, { path: mount.disk, readOnly: true });
        devices.mounts.push({ type: "disk", disk, subpath: `/${subpath}`, target, readOnly, discard: !readOnly });
        break;
      }
      case "cache": {
        const caches = devices.caches!;
        const { mode, uid, gid, seed } = mount.cache;
        const { target, readOnly } = mount;
        const subpath = `/volumes/${caches.nameOf(mount.cache)}`;
        if (seed) {
          // What an empty directory is filled with is what lies at its target: the seed, then.
          const from = attachDisk(devices, { path: seed.disk, readOnly: true });
          devices.mounts.push({ type: "disk", disk: from, subpath: `/${seed.subpath}`, target, readOnly: true });
        }
        const disk = attachDisk(devices, { path: caches.on.disk, readOnly: false });
        const made = { type: "disk", disk, subpath, target, mode, uid, gid, copyUp: seed !== undefined } as const;
        devices.mounts.push({ ...made, readOnly: false });
        // Only a writable mount makes a directory that isn't there yet.
        if (readOnly) devices.mounts.push({ type: "disk", disk, subpath, target, readOnly });
        break;
      }
      case "socket":
        // Each connection of the step's goes to the agent anew, as through the socket itself.
        devices.sockets.push({ ...mount, connect: () => connect(mount.hostPath) });
        break;
    }
  }
}

async function leaseWithDisk(home: AegisHome, volumes: readonly CacheVolume[]): Promise<Devices["caches"]> {
  const lease = await leaseCaches(home, volumes);
  try {
    return { ...lease, on: await leaseCacheDisk(home, volumes.map(lease.nameOf)) };
  } catch (error) {
    lease.release();
    throw error;
  }
}

/** Number of a disk, attached once however many mounts are on it. */
function attachDisk(devices: Devices, disk: Devices["disks"][number]): number {
  const known = devices.disks.findIndex(({ path: file }) => file === disk.path);
  return known >= 0 ? known : devices.disks.push(disk) - 1;
}

interface Site {
  readonly id: string;
  readonly socketDir: string;
  readonly consoleLog: string;
  readonly devices: Devices;
}

async function withMachine(home: AegisHome, request: RunRequest, site: Site): Promise<RunOutcome> {
  const [{ ensureBootFiles, startMachine, startNetwork }, { connectGuest }] = await Promise.all([
    import("../../vmm/index.js"),
    import("../../guest/index.js"),
  ]);
  const bootFiles = await ensureBootFiles(home);
  await using network =
    request.network === "none"
      ? undefined
      : await startNetwork(home, { socketDir: site.socketDir, hostLoopback: request.network === "host" });
  await using machine = await startMachine({
    name: `aegis-build-${site.id}`,
    memoryMiB: request.memory === undefined ? memoryMiB() : Math.max(64, Math.round(request.memory / 2 ** 20)),
    cpus: availableParallelism(),
    ...bootFiles,
    disks: site.devices.disks,
    shares: [],
    network: network && { socket: network.socket, mac: network.mac },
    consoleLog: site.consoleLog,
    socketDir: site.socketDir,
  });
  const abort = () => void machine.kill();
  request.signal?.addEventListener("abort", abort);
  try {
    const guest = await connectGuest(machine.control, { timeoutMs: helloTimeoutMs });
    // What ends the conversation is told by the call that waits for an answer.
    guest.closed.catch(() => undefined);
    const upper = request.lowers.length;
    await guest.boot({
      hostname: request.hostname,
      root: { lowers: request.lowers.map((_, i) => i), upper, volatile: true },
      network: network?.guest,
      extraHosts: [],
      mounts: [],
      files: [],
      ports: [],
      errorLogs: [],
    });
    const outcome = await step(guest, request, site.devices);
    await guest.shutdown({ signal: 15, graceMs: shutdownGraceMs });
    await machine.exited;
    return outcome;
  } catch (error) {
    request.signal?.throwIfAborted();
    throw await explained(error, machine);
  } finally {
    request.signal?.removeEventListener("abort", abort);
  }
}

async function step(
  guest: import("../../guest/index.js").Guest,
  request: RunRequest,
  devices: Devices,
): Promise<RunOutcome> {
  const running = await guest.exec({
    argv: request.argv,
    env: request.env,
    // By number, so that both executors go by one reading of passwd and group.
    user: `${request.user.uid}:${request.user.gid}`,
    groups: request.user.additionalGids,
    cwd: request.cwd,
    privileged: request.privileged,
    createCwd: true,
    limits: request.limits,
    sandbox: {
      hostname: request.hostname,
      network: request.network === "none" ? "none" : "guest",
      insecure: request.privileged,
      shmSize: request.shmSize,
      mounts: devices.mounts,
      files: devices.files,
      sockets: devices.sockets,
      extraHosts: request.extraHosts,
    },
  });
  running.stdin.end();
  running.stdout.on("data", (chunk: Buffer) => request.output("stdout", chunk));
  running.stderr.on("data", (chunk: Buffer) => request.output("stderr", chunk));
  const ended = (stream: NodeJS.ReadableStream) =>
    new Promise<void>((resolve) => stream.once("close", () => resolve()));
  const [exit] = await Promise.all([running.exited, ended(running.stdout), ended(running.stderr)]);
  if (exit.startError !== undefined) {
    const { stage, errno, path: subject, interpreter } = exit.startError;
    const what = interpreter === undefined ? subject : `${subject}, whose interpreter ${interpreter} is missing`;
    return { exitCode: errno === "EACCES" ? 126 : 127, oomKilled: false, startError: `${stage}: ${what}: ${errno}` };
  }
  const code = exit.code ?? (exit.signal === undefined ? 1 : 128 + exit.signal);
  return { exitCode: code, oomKilled: exit.oomKilled };
}

/** Half of the machine, at most 4 GiB: a build step is often the largest thing that runs. */
const memoryMiB = (): number => Math.max(512, Math.min(4096, Math.floor(totalmem() / 2 ** 21)));

async function explained(error: unknown, machine: Machine): Promise<unknown> {
  if (!(error instanceof AegisError) || error.context !== undefined) return error;
  const tail = await machine.consoleTail(20).catch(() => "");
  const ending = error.code === "GUEST_GONE" ? await endingOf(machine) : "";
  const context = [tail, ending].filter(Boolean).join("\n");
  return new AegisError(error.code, error.message, {
    exitCode: error.exitCode,
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(context === "" ? {} : { context }),
  });
}

/** How the machine's process ended, for a guest that went without a word. */
async function endingOf({ driver, exited }: Machine): Promise<string> {
  const grace = new AbortController();
  const exit = await Promise.race([exited, setTimeout(exitGraceMs, undefined, { signal: grace.signal })]);
  grace.abort();
  if (!exit) return `${driver} still runs`;
  const how = exit.signal === null ? `status ${exit.code}` : exit.signal;
  return `${driver} ended with ${how}${exit.message === "" ? "" : `: ${exit.message}`}`;
}

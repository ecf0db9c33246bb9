/**
 * One boot of an instance: starts network and machine, hands the guest its configuration, follows the app to its end, and
 * releases everything, whatever happened. Restarting is somebody else's decision.
 */
import { mkdir, rm, stat, truncate } from "node:fs/promises";
import path from "node:path";
import type { Guest, GuestEvent, GuestProcess, ProcessExit } from "../../guest/types.js";
import { AegisError } from "../../support/errors.js";
import type { AegisHome } from "../../support/home.js";
import type { Machine, MachineExit, Network } from "../../vmm/types.js";
import { type ExitStory, explainExit, explainFullDisk } from "../exits.js";
import type { TerminalSize } from "../messages.js";
import { filesOf } from "../store.js";
import type { InstanceConfig } from "../types.js";
import { bootConfig, bootFiles, type Devices, planDevices, type SecretValues } from "./boot.js";
import type { Parts } from "./parts.js";
import { shareFiles } from "./shared-files.js";

export interface LiveMachine {
  readonly machine: Machine;
  readonly guest: Guest;
  readonly app: GuestProcess;
  readonly network: Network | undefined;
}

export interface SessionHooks {
  /** Resolves when the app may start (a foreground client is there), with its terminal's size. */
  ready(): Promise<TerminalSize | undefined>;
  /** The VMM has started. */
  started(machine: Machine): Promise<void>;
  /** The app runs. */
  live(live: LiveMachine): Promise<void>;
  event(event: GuestEvent): void;
}

/** How long the guest may take to unmount and power off after its app has ended. */
const powerOffMs = 15_000;

/**
 * Resolves with how the app ended, when nothing of the machine is left.
 * @param abort ends the machine at once
 * @throws AegisError when the app never ran
 */
export async function runSession(
  home: AegisHome,
  config: InstanceConfig,
  secrets: SecretValues,
  parts: Parts,
  hooks: SessionHooks,
  abort: AbortSignal,
): Promise<ExitStory> {
  const files = filesOf(home, config.id);
  const bootedFiles = bootFiles(config, secrets);
  await using sharedFiles = await shareFiles(path.join(files.directory, "shared-files"), config.volumes);
  const devices = planDevices(home, config, await parts.lowers(home, config), sharedFiles.byTarget);
  await Promise.all(devices.writable.map((disk) => ensureDisk(parts, disk)));
  // A boot's sockets are its own: what the one before it left would be in the way.
  const socketDir = path.join(files.socketDir, "vm");
  await rm(socketDir, { recursive: true, force: true });
  await mkdir(socketDir, { recursive: true, mode: 0o700 });
  const { kernel, bootDisk } = await parts.bootFiles(home);
  abort.throwIfAborted();

  await using network = config.network
    ? await parts.network(home, { socketDir, hostLoopback: config.hostLoopback })
    : undefined;
  // Before the machine, so that a port that was taken meanwhile stops us early.
  for (const port of network ? config.ports : []) await network?.expose(port);
  abort.throwIfAborted();

  await using machine = await parts.machine(
    home,
    {
      name: config.name,
      memoryMiB: Math.floor(config.memoryBytes / 2 ** 20),
      cpus: config.cpus,
      kernel,
      bootDisk,
      disks: devices.disks,
      shares: devices.shares,
      network: network && { socket: network.socket, mac: network.mac },
      consoleLog: files.console,
      socketDir,
    },
    config.vmm,
  );
  const kill = () => void machine.kill().catch(() => undefined);
  abort.addEventListener("abort", kill, { once: true });
  try {
    if (abort.aborted) kill();
    await hooks.started(machine);
    const guest = await untilHello(machine, parts, config);
    let oom: Extract<GuestEvent, { type: "oom" }> | undefined;
    let full: string | undefined;
    guest.on((event) => {
      if (event.type === "oom") oom = event;
      if (event.type === "diskFull") {
        full = explainFullDisk(fullDisk(config, devices, event.disk), event.sizeBytes);
        hooks.event({ type: "warning", message: full });
      } else hooks.event(event);
    });
    const size = await hooks.ready();
    const app = await withConsole(
      machine,
      Promise.race([
        guest.boot(bootConfig(config, { devices, network, secrets, size, files: bootedFiles })),
        endedEarly(machine),
      ]),
    );
    if (!app) throw new AegisError("GUEST_PROTOCOL", "the guest booted but did not start the app");
    await hooks.live({ machine, guest, app, network });
    const exit = await appExit(app, guest, machine);
    if (!exit) return await machineEnded(machine);
    await powerOff(guest, machine);
    const program = config.process.argv[0] ?? config.name;
    return explainExit(exit, { program, memoryBytes: config.memoryBytes, oom, full });
  } finally {
    abort.removeEventListener("abort", kill);
  }
}

function fullDisk(config: InstanceConfig, { root, mounts }: Devices, disk: number): string {
  if (disk === root.upper) return "the disk";
  const targets = mounts.flatMap((mount) => (mount.type === "disk" && mount.disk === disk ? [mount.target] : []));
  const name = config.volumes.find((volume) => volume.kind === "volume" && targets.includes(volume.target));
  return name?.kind === "volume" ? `the volume ${name.name}` : `the disk of ${targets.join(", ")}`;
}

/** Makes a disk, or makes its file longer: the guest grows the filesystem when it mounts it. Disks never shrink. */
async function ensureDisk(parts: Parts, { path, sizeBytes, over }: Devices["writable"][number]): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (!found) await parts.createDisk(path, sizeBytes, over);
  else if (found.size < sizeBytes) await truncate(path, sizeBytes);
}

async function untilHello(machine: Machine, parts: Parts, config: InstanceConfig): Promise<Guest> {
  try {
    return await withConsole(
      machine,
      Promise.race([parts.connectGuest(machine.control, { timeoutMs: parts.helloTimeoutMs }), endedEarly(machine)]),
    );
  } catch (error) {
    if (!(error instanceof AegisError) || config.memoryBytes >= smallMachineBytes) throw error;
    throw new AegisError(error.code, error.message, {
      hint: `${config.memoryBytes / 2 ** 20} MiB may be too little to boot: try --memory 512m`,
      cause: error,
      ...(error.context === undefined ? {} : { context: error.context }),
    });
  }
}

const smallMachineBytes = 128 * 2 ** 20;

/** Adds the last lines of the kernel's console to an error on the way up. */
async function withConsole<T>(machine: Machine, body: Promise<T>): Promise<T> {
  try {
    return await body;
  } catch (thrown) {
    // The control port closes when the machine ends: what the machine has to say is more to the point.
    const gone = thrown instanceof AegisError && thrown.code === "GUEST_GONE";
    const error = gone ? await endedEarly(machine).catch((reason: unknown) => reason) : thrown;
    if (!(error instanceof AegisError) || error.context) throw error;
    const tail = await machine.consoleTail(15).catch(() => "");
    throw new AegisError(error.code, error.message, {
      hint: error.hint ?? "the lines above are the last that the guest's kernel printed",
      exitCode: error.exitCode,
      cause: error,
      ...(tail.trim() === "" ? {} : { context: tail }),
    });
  }
}

function endedEarly(machine: Machine): Promise<never> {
  const ended = machine.exited.then((exit) => {
    throw new AegisError("VMM_EXITED", `the virtual machine ended before its guest was up (${describe(exit)})`);
  });
  // It stays behind when the race is won by the other.
  ended.catch(() => undefined);
  return ended;
}

/** How the app ended, or undefined when the machine did without telling. */
async function appExit(app: GuestProcess, guest: Guest, machine: Machine): Promise<ProcessExit | undefined> {
  const exited = app.exited.catch(() => undefined);
  // The control port delivers in order: by the time it closes, an exit that was told has been heard.
  const closed = guest.closed.then(
    () => undefined,
    () => undefined,
  );
  const first = await Promise.race([exited, closed]);
  if (first) return first;
  await machine.kill().catch(() => undefined);
  return undefined;
}

async function powerOff(guest: Guest, machine: Machine): Promise<void> {
  const timer = setTimeout(() => void machine.kill().catch(() => undefined), powerOffMs);
  try {
    await guest.shutdown({ signal: 9, graceMs: 0 }).catch(() => undefined);
    await machine.exited;
  } finally {
    clearTimeout(timer);
  }
}

async function machineEnded(machine: Machine): Promise<ExitStory> {
  const exit = await machine.exited;
  const panic = (await machine.consoleTail(50).catch(() => "")).split("\n").find((line) => /kernel panic/i.test(line));
  if (panic) {
    const oomKilled = /out of memory/i.test(panic);
    return { exitCode: 255, oomKilled, reason: `the guest's kernel gave up: ${panic.trim()}` };
  }
  const how = exit.signal ? "was killed" : "ended without telling why";
  return {
    exitCode: exit.signal ? 137 : 255,
    oomKilled: false,
    reason: `the virtual machine ${how} (${describe(exit)})`,
  };
}

const describe = ({ code, signal, message }: MachineExit): string =>
  [signal ?? `status ${code}`, ...(message === "" ? [] : [message])].join(": ");

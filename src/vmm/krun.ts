/** Machines by libkrun, each a process of its own (native/krun.c); needs hardware virtualization. */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { stat, truncate } from "node:fs/promises";
import { AegisError } from "../support/errors.js";
import { kernelCommandLine } from "./command-line.js";
import { recordConsole } from "./console.js";
import { kvmVerdict } from "./kvm.js";
import { findLibkrun, helper } from "./parts/locate.js";
import { type BoundProcess, firstLine, startBound, startGuarded } from "./processes.js";
import type { Driver, Machine, MachineExit, MachineSpec } from "./types.js";

export const krunDriver: Driver = { name: "krun", start };

/** libkrun 1.17 on x86 has IRQs 5 to 15; its random generator and balloon are always there. */
const DEVICES = 11;
const OWN_DEVICES = 2;
/** As native/krun.c expects them. */
const CONFIG_FD = 3;
const CONTROL_FD = 4;

/** @throws AegisError VMM_MISSING, KVM_UNUSABLE, VMM_FAILED, TOO_MANY_DEVICES */
async function start(spec: MachineSpec): Promise<Machine> {
  const library = findLibkrun();
  if (!library) {
    throw new AegisError("VMM_MISSING", "libkrun is not installed", { hint: "run `aegis doctor --fix`" });
  }
  const kvm = kvmVerdict();
  if (!kvm.usable) {
    throw new AegisError("KVM_UNUSABLE", `libkrun needs hardware virtualization: ${kvm.reason}`, {
      hint: "run with --vmm qemu, which emulates a processor where there is none",
    });
  }
  const needed = spec.disks.length + 1 + 1 + (spec.network ? 1 : 0) + spec.shares.length + OWN_DEVICES;
  if (needed > DEVICES) {
    throw new AegisError("TOO_MANY_DEVICES", `libkrun holds ${DEVICES} devices, this machine needs ${needed}`, {
      hint: "mount fewer directories or volumes",
    });
  }
  const readOnly = spec.shares.filter((share) => share.readOnly).map((share) => share.hostPath);
  const options = { stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"] as ("ignore" | "pipe")[] };
  const args = ["run", String(process.pid)];
  const launcher =
    readOnly.length > 0
      ? await startGuarded(helper("aegis-krun"), args, { ...options, readOnly })
      : await startBound(helper("aegis-krun"), args, options);
  const console = recordConsole(launcher.child.stdout!, spec.consoleLog);
  const config = launcher.channel(CONFIG_FD);
  config.on("error", () => undefined);
  const configured = firstLine(config, launcher, failed);
  config.end(krunConfig(spec, library, kernelFormat(spec.kernel)));
  await configured;
  return assemble(launcher, lengthKeeper(spec), (lines) => console.tail(lines));
}

/**
 * Makes disks again as long as they were: libkrun 1.17 truncates a file at a discard that reaches its end. The launcher
 * prevents it where it can (native/disk_length.h), which is not everywhere.
 */
function lengthKeeper(spec: MachineSpec): () => Promise<void> {
  const lengths = spec.disks.flatMap((disk) => (disk.readOnly ? [] : [[disk.path, statSync(disk.path).size] as const]));
  return async () => {
    for (const [file, length] of lengths) {
      const { size } = await stat(file).catch(() => ({ size: length }));
      if (size < length) await truncate(file, length);
    }
  };
}

function assemble(launcher: BoundProcess, settle: () => Promise<void>, tail: (lines: number) => string): Machine {
  const exited = launcher.exited.then(async (exit) => {
    await settle();
    return exit;
  });
  const kill = async () => {
    launcher.child.kill("SIGKILL");
    await exited;
  };
  const signal = async (name: NodeJS.Signals) => {
    if (!launcher.child.kill(name)) throw new AegisError("VMM_FAILED", "the machine has ended");
  };
  return {
    driver: "krun",
    pid: launcher.pid,
    control: launcher.channel(CONTROL_FD),
    exited,
    // libkrun has no call for it. Its clock goes on meanwhile, as the host's does.
    pause: () => signal("SIGSTOP"),
    resume: () => signal("SIGCONT"),
    kill,
    consoleTail: async (lines = 20) => tail(lines),
    [Symbol.asyncDispose]: kill,
  };
}

/** What the launcher reads: NUL-terminated records, so that any path fits in. */
export function krunConfig(spec: MachineSpec, library: string, format: "elf" | "raw"): Buffer {
  const disks = [...spec.disks, { path: spec.bootDisk, readOnly: true }];
  const records = [
    `library=${library}`,
    `cpus=${spec.cpus}`,
    `memory=${spec.memoryMiB}`,
    `kernel=${spec.kernel}`,
    `format=${format}`,
    `cmdline=${kernelCommandLine(spec, { reboot: "k" })}`,
    ...disks.map((disk) => `${disk.readOnly ? "disk.ro" : "disk.rw"}=${disk.path}`),
    ...spec.shares.map((share) => `share=${share.tag}:${share.hostPath}`),
    ...(spec.network ? [`mac=${spec.network.mac}`, `net=${spec.network.socket}`] : []),
  ];
  return Buffer.from(`${records.join("\0")}\0`);
}

function kernelFormat(kernel: string): "elf" | "raw" {
  const magic = Buffer.alloc(4);
  const fd = openSync(kernel, "r");
  try {
    readSync(fd, magic, 0, magic.length, 0);
  } finally {
    closeSync(fd);
  }
  return magic.toString("latin1") === "\x7fELF" ? "elf" : "raw";
}

/** Exit statuses of native/krun.c. */
const statuses: Readonly<Record<number, string>> = {
  100: "its configuration is refused",
  101: "libkrun can't be loaded",
  102: "libkrun refuses it",
  103: "the system refuses it",
};

function failed(exit: MachineExit): AegisError {
  const why = statuses[exit.code ?? 0] ?? `the launcher ended with status ${exit.code ?? exit.signal}`;
  return new AegisError("VMM_FAILED", `libkrun does not start this machine: ${why}`, { context: exit.message });
}

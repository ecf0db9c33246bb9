/** Machines by QEMU's microvm: with KVM where the host has it, by emulation everywhere else. */
import { AegisError } from "../support/errors.js";
import { recordConsole } from "./console.js";
import { kvmVerdict } from "./kvm.js";
import { findQemu } from "./parts/locate.js";
import { type BoundProcess, startGuarded } from "./processes.js";
import { qemuArguments, qemuFds } from "./qemu-arguments.js";
import { connectQmp, type Qmp } from "./qmp.js";
import { tscKhz } from "./tsc.js";
import type { Driver, Machine, MachineSpec } from "./types.js";
import { type ShareServer, startShare } from "./virtiofsd.js";

export const qemuDriver: Driver = { name: "qemu", start };

/** @throws AegisError VMM_MISSING, VMM_FAILED, TOO_MANY_DEVICES, SHARE_FAILED */
async function start(spec: MachineSpec): Promise<Machine> {
  const program = findQemu();
  if (!program) {
    throw new AegisError("VMM_MISSING", "QEMU (qemu-system-x86_64) is not installed", {
      hint: "run `aegis doctor --fix`",
    });
  }
  const accelerator = kvmVerdict().usable ? "kvm" : "tcg";
  const shares: ShareServer[] = [];
  let qemu: BoundProcess | undefined;
  try {
    for (const [i, share] of spec.shares.entries()) shares.push(await startShare(share, spec.socketDir, i));
    const args = qemuArguments(spec, {
      accelerator,
      tscKhz: accelerator === "tcg" ? await tscKhz() : undefined,
      shareSockets: shares.map((share) => share.socket),
    });
    qemu = await startGuarded(program, args, { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe", "pipe"] });
    return await assemble(spec, qemu, shares);
  } catch (error) {
    await qemu?.kill();
    await Promise.all(shares.map((share) => share.process.kill()));
    throw error;
  }
}

async function assemble(spec: MachineSpec, qemu: BoundProcess, shares: readonly ShareServer[]): Promise<Machine> {
  const console = recordConsole(qemu.channel(qemuFds.console), spec.consoleLog);
  const control = qemu.channel(qemuFds.control);
  const qmp = await connectQmp(qemu.channel(qemuFds.qmp)).catch(async (error: unknown): Promise<Qmp> => {
    await qemu.kill();
    const { message } = await qemu.exited;
    throw new AegisError("VMM_FAILED", "QEMU does not start this machine", { context: message, cause: error });
  });
  const exited = qemu.exited.then(async (exit) => {
    await Promise.all(shares.map((share) => share.process.kill()));
    return exit;
  });
  const kill = async () => {
    qemu.child.kill("SIGKILL");
    await exited;
  };
  return {
    driver: "qemu",
    pid: qemu.pid,
    control,
    exited,
    pause: async () => void (await qmp.execute("stop")),
    resume: async () => void (await qmp.execute("cont")),
    kill,
    consoleTail: async (lines = 20) => console.tail(lines),
    [Symbol.asyncDispose]: kill,
  };
}

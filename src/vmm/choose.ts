/** Which VMM runs a machine: what was asked for, else libkrun where it can work, else QEMU. */
import { AegisError } from "../support/errors.js";
import { type KvmVerdict, kvmVerdict } from "./kvm.js";
import { findLibkrun, findQemu } from "./parts/locate.js";
import type { Driver, Machine, MachineSpec } from "./types.js";

export type DriverName = Driver["name"];

/** What the rule looks at; replaceable in tests. */
export interface HostFacts {
  readonly kvm: KvmVerdict;
  readonly krun: boolean;
  readonly qemu: boolean;
}

/**
 * @param asked a name from `--vmm` or AEGIS_VMM
 * @throws AegisError VMM_UNKNOWN, VMM_MISSING, KVM_UNUSABLE
 */
export function decideDriver(asked: string | undefined, facts: HostFacts): DriverName {
  if (asked !== undefined && asked !== "" && asked !== "krun" && asked !== "qemu") {
    throw new AegisError("VMM_UNKNOWN", `"${asked}" is not a VMM that aegis knows`, { hint: "use krun or qemu" });
  }
  if (asked === "krun") {
    if (!facts.krun) throw missing("libkrun is not installed");
    if (!facts.kvm.usable) {
      throw new AegisError("KVM_UNUSABLE", `libkrun needs hardware virtualization: ${facts.kvm.reason}`, {
        hint: "use --vmm qemu, which emulates a processor where there is none",
      });
    }
    return "krun";
  }
  if (asked === "qemu") {
    if (!facts.qemu) throw missing("QEMU is not installed");
    return "qemu";
  }
  if (facts.krun && facts.kvm.usable) return "krun";
  if (facts.qemu) return "qemu";
  throw missing(
    facts.krun ? `libkrun is there, but ${facts.kvm.reason}; QEMU is not installed` : "no VMM is installed",
  );
}

const missing = (what: string) => new AegisError("VMM_MISSING", what, { hint: "run `aegis doctor --fix`" });

export function hostFacts(): HostFacts {
  return { kvm: kvmVerdict(), krun: findLibkrun() !== undefined, qemu: findQemu() !== undefined };
}

/** The driver for this host; `asked` wins over AEGIS_VMM. */
export async function chooseDriver(asked: string | undefined = process.env.AEGIS_VMM): Promise<Driver> {
  return decideDriver(asked, hostFacts()) === "krun"
    ? (await import("./krun.js")).krunDriver
    : (await import("./qemu.js")).qemuDriver;
}

/**
 * Starts a machine. It is running when this resolves; whether its guest comes up shows on the control port.
 * @throws AegisError VMM_MISSING, KVM_UNUSABLE, VMM_FAILED, TOO_MANY_DEVICES, SHARE_FAILED
 */
export async function startMachine(
  spec: MachineSpec,
  options: { readonly driver?: string | undefined } = {},
): Promise<Machine> {
  return await (await chooseDriver(options.driver)).start(spec);
}

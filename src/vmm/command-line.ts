/** The kernel's command line, alike for both VMMs. */
import type { MachineSpec } from "./types.js";

export interface CommandLineFacts {
  /** How the kernel resets the machine: `t` triple fault (QEMU's microvm), `k` keyboard controller (libkrun). */
  readonly reboot: "t" | "k";
  /** The guest's processor and timers are programs that wait for their turn. */
  readonly emulated?: boolean;
  /** Rate of the host's time stamp counter when the guest sees it unscaled and can't measure it. */
  readonly tscKhz?: number | undefined;
}

export function kernelCommandLine(spec: MachineSpec, facts: CommandLineFacts): string {
  return [
    "console=hvc0",
    "quiet",
    // A panic is a reboot is the end of the VMM process: no guest hangs unseen.
    "panic=-1",
    `reboot=${facts.reboot}`,
    `root=/dev/${diskName(spec.disks.length)}`,
    "rootfstype=ext4",
    "ro",
    "init=/init",
    // Calibration against an emulated timer fails now and then, and a guest whose tsc_khz is 0 can't run KVM.
    ...(facts.tscKhz ? [`tsc_early_khz=${facts.tscKhz}`, "tsc=reliable"] : []),
    // The kernel panics, before its console speaks, when a busy host delivers the timer's interrupts late. Under KVM it knows.
    ...(facts.emulated ? ["no_timer_check"] : []),
    ...(spec.cmdline ?? []),
  ].join(" ");
}

/** Name of the i-th virtio disk in the guest. */
export function diskName(index: number): string {
  return `vd${String.fromCharCode("a".charCodeAt(0) + index)}`;
}

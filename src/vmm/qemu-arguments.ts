/** A machine as QEMU's arguments. Pure: the same spec gives the same command. */
import { AegisError } from "../support/errors.js";
import { kernelCommandLine } from "./command-line.js";
import type { MachineSpec } from "./types.js";

/** File descriptors that QEMU inherits, each a socket pair's end. */
export const qemuFds = { console: 3, control: 4, qmp: 5 } as const;

export interface QemuFacts {
  readonly accelerator: "kvm" | "tcg";
  readonly tscKhz?: number | undefined;
  /** vhost-user sockets of the shares, in the spec's order. */
  readonly shareSockets: readonly string[];
}

/**
 * microvm with its interrupt controller at the PIC's IRQs has eight virtio-mmio transports, IRQ 5 + n (QEMU 7.2,
 * hw/i386/microvm.c). The kernel finds the highest first. The one at IRQ 8 is the last resort: it takes the clock's IRQ. (A
 * machine without the clock boots slower, the kernel waits for it.)
 */
const TRANSPORTS = [7, 6, 5, 4, 2, 1, 0, 3];
const UNDISPUTED = 7;

type Device = Readonly<Record<string, unknown>>;

/** @throws AegisError TOO_MANY_DEVICES */
export function qemuArguments(spec: MachineSpec, facts: QemuFacts): string[] {
  const shared = spec.shares.length > 0;
  return [
    ...["-name", spec.name.replace(/[^A-Za-z0-9_.-]/g, "_")],
    // One thread for all vCPUs when emulating: with several, code that the kernel patches on one (static keys) is run half
    // patched by another, and about one boot in thirty panicked.
    ...[
      "-accel",
      facts.accelerator === "kvm" ? "kvm" : "tcg,thread=single",
      "-cpu",
      facts.accelerator === "kvm" ? "host" : "max",
    ],
    // Without pit and pic the kernel hangs in calibration; force-legacy=false is for vhost-user devices.
    ...["-M", `microvm,acpi=off,pit=on,pic=on,isa-serial=off${shared ? ",memory-backend=mem" : ""}`],
    ...["-global", "virtio-mmio.force-legacy=false"],
    ...["-m", `${spec.memoryMiB}M`, "-smp", String(spec.cpus)],
    // A file server maps the guest's memory, so that has to be shareable.
    ...(shared
      ? ["-object", json({ "qom-type": "memory-backend-memfd", id: "mem", ...memory(spec), share: true })]
      : []),
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...["-kernel", spec.kernel],
    ...[
      "-append",
      kernelCommandLine(spec, { reboot: "t", emulated: facts.accelerator === "tcg", tscKhz: facts.tscKhz }),
    ],
    ...Object.entries(qemuFds).flatMap(([id, fd]) => ["-chardev", `socket,id=${id},fd=${fd}`]),
    ...["-mon", "chardev=qmp,mode=control"],
    ...backends(spec, facts),
    ...devices(spec).flatMap((device) => ["-device", json(device)]),
  ];
}

const memory = (spec: MachineSpec) => ({ size: spec.memoryMiB * 1024 * 1024 });

function backends(spec: MachineSpec, facts: QemuFacts): string[] {
  const disks = [...spec.disks, { path: spec.bootDisk, readOnly: true }];
  return [
    ...disks.flatMap((disk, i) => [
      "-blockdev",
      // Raw and nothing else: any other format can name more files of the host.
      json({
        driver: "raw",
        "node-name": `disk${i}`,
        "read-only": disk.readOnly,
        discard: "unmap",
        file: { driver: "file", filename: disk.path, aio: "threads", discard: "unmap" },
      }),
    ]),
    ...(spec.network
      ? [
          "-netdev",
          json({ type: "stream", id: "net", server: false, addr: { type: "unix", path: spec.network.socket } }),
        ]
      : []),
    ...facts.shareSockets.flatMap((socket, i) => [
      "-chardev",
      `socket,id=share${i},path=${socket.replaceAll(",", ",,")}`,
    ]),
  ];
}

/** Devices with their places; disks come first, so that the kernel names them in order. */
function devices(spec: MachineSpec): Device[] {
  const disks = spec.disks.length + 1;
  const needed: Device[] = [
    ...Array.from({ length: disks }, (_, i) => ({ driver: "virtio-blk-device", drive: `disk${i}` })),
    { driver: "virtio-serial-device", id: "serial" },
    ...(spec.network ? [{ driver: "virtio-net-device", netdev: "net", mac: spec.network.mac }] : []),
    ...spec.shares.map(({ tag }, i) => ({ driver: "vhost-user-fs-device", chardev: `share${i}`, tag })),
  ];
  if (needed.length > TRANSPORTS.length) {
    throw new AegisError(
      "TOO_MANY_DEVICES",
      `QEMU's microvm holds ${TRANSPORTS.length} devices, this machine needs ${needed.length}`,
      {
        hint: "mount fewer directories or volumes",
      },
    );
  }
  const wanted: Device[] = [
    { driver: "virtio-rng-device" },
    { driver: "virtio-balloon-device", "free-page-reporting": true },
  ].slice(0, Math.max(0, UNDISPUTED - needed.length));
  return [
    ...[...needed, ...wanted].map((device, i) => ({ ...device, bus: `virtio-mmio-bus.${TRANSPORTS[i]}` })),
    { driver: "virtconsole", chardev: "console", bus: "serial.0" },
    { driver: "virtserialport", chardev: "control", name: "aegis.control", bus: "serial.0" },
  ];
}

const json = (value: unknown): string => JSON.stringify(value);

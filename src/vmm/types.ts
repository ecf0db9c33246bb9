/** The one interface behind which libkrun and QEMU are the same machine. */
import type { Duplex } from "node:stream";

export interface DiskSpec {
  /** Host path of a raw image; never probed for another format. */
  readonly path: string;
  readonly readOnly: boolean;
}

export interface ShareSpec {
  /** virtio-fs tag, at most 36 bytes. */
  readonly tag: string;
  readonly hostPath: string;
  readonly readOnly: boolean;
}

export interface MachineSpec {
  /** For messages and process titles. */
  readonly name: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Guest kernel as an ELF64 file that boots by PVH note and by e_entry. */
  readonly kernel: string;
  /**
   * Raw ext4 image with the harness as /init and empty mount points. It is attached read-only after `disks` and is the
   * root the kernel mounts: libkrunfw's kernel is built without initramfs support.
   */
  readonly bootDisk: string;
  /** Extra words of the kernel command line; never a secret. */
  readonly cmdline?: readonly string[];
  /** The i-th is /dev/vd(a+i) in the guest, on every driver. */
  readonly disks: readonly DiskSpec[];
  readonly shares: readonly ShareSpec[];
  /** Unix socket that speaks QEMU's stream framing (gvproxy); no NIC when undefined. */
  readonly network?: { readonly socket: string; readonly mac: string } | undefined;
  /** Kernel console output is appended here. */
  readonly consoleLog: string;
  /** Private directory for sockets, short enough for sun_path. */
  readonly socketDir: string;
}

export interface MachineExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last of what the VMM itself (not the guest) said on standard error; empty when all went well. */
  readonly message: string;
}

/** A started virtual machine. */
export interface Machine extends AsyncDisposable {
  readonly driver: "krun" | "qemu";
  /** Process that is the virtual machine. */
  readonly pid: number;
  /** The guest's port named `aegis.control`, both directions. */
  readonly control: Duplex;
  /** Resolves when the VMM process has ended and its helpers (virtiofsd) are gone. */
  readonly exited: Promise<MachineExit>;
  /** Stops and continues the virtual CPUs. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends the VMM at once; the disk is as after a power cut. */
  kill(): Promise<void>;
  /** Last lines that the kernel printed. */
  consoleTail(lines?: number): Promise<string>;
}

export interface Driver {
  readonly name: "krun" | "qemu";
  start(spec: MachineSpec): Promise<Machine>;
}

/** gvproxy of one machine: user-mode NAT, DNS and port forwards, without any privilege. */
export interface Network extends AsyncDisposable {
  readonly pid: number;
  /** For MachineSpec.network. */
  readonly socket: string;
  readonly mac: string;
  readonly guest: {
    readonly address: string;
    readonly prefix: number;
    readonly gateway: string;
    readonly dns: readonly string[];
  };
  /** Address under which the guest reaches the host's loopback when `hostLoopback` was asked for. */
  readonly hostAlias: string;
  expose(port: PortForward): Promise<void>;
  unexpose(port: PortForward): Promise<void>;
}

export interface PortForward {
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: "tcp" | "udp";
}

/**
 * What the host tells the harness (PID 1 of the guest) and what it hears back, as values. harness/PROTOCOL.md fixes the
 * bytes; protocol.ts in this room encodes and decodes them.
 */
import type { Duplex, Readable, Writable } from "node:stream";

/** The first thing the guest says. */
export interface GuestHello {
  readonly protocolVersion: number;
  readonly harnessVersion: string;
  readonly kernelRelease: string;
  /** MemTotal of the guest, bytes. */
  readonly memoryBytes: number;
  readonly cpus: number;
}

export interface BootConfig {
  readonly hostname: string;
  /** Wall clock for guests without an RTC, milliseconds since the epoch; sent at the moment of sending. */
  readonly root: RootConfig;
  readonly network?: GuestNetwork | undefined;
  /** Extra lines of /etc/hosts. */
  readonly extraHosts: readonly { readonly address: string; readonly name: string }[];
  readonly mounts: readonly GuestMount[];
  /** Files written before the app starts (secrets with a target, RENDER results); live on tmpfs unless `persistent`. */
  readonly files: readonly GuestFile[];
  /** Guest ports that are published: servers bound to 127.0.0.1 are proxied from the guest's address. */
  readonly ports: readonly { readonly port: number; readonly protocol: "tcp" | "udp" }[];
  /** undefined: boot and wait for exec (build steps, `cp`). */
  readonly process?: ProcessSpec | undefined;
  /** Log files inside the guest whose error lines are surfaced. */
  readonly errorLogs: readonly { readonly glob: string; readonly field?: string | undefined }[];
  readonly shmSize?: number | undefined;
  readonly readOnlyRoot?: boolean | undefined;
}

/** overlay(lowers, upper). Disk numbers index MachineSpec.disks: 0 is /dev/vda. */
export interface RootConfig {
  /** Bottom first. */
  readonly lowers: readonly number[];
  /** Disk whose /upper and /work are used; a tmpfs when undefined. */
  readonly upper?: number | undefined;
}

export interface GuestNetwork {
  readonly address: string;
  readonly prefix: number;
  readonly gateway: string;
  readonly dns: readonly string[];
  readonly mtu?: number | undefined;
}

export type GuestMount =
  | { readonly type: "virtiofs"; readonly tag: string; readonly target: string; readonly readOnly: boolean }
  | {
      readonly type: "tmpfs";
      readonly target: string;
      readonly size?: number | undefined;
      readonly mode?: number | undefined;
    }
  | {
      readonly type: "disk";
      readonly disk: number;
      readonly subpath: string;
      readonly target: string;
      readonly readOnly: boolean;
      readonly copyUp?: boolean | undefined;
    }
  | { readonly type: "bind"; readonly source: string; readonly target: string; readonly readOnly: boolean };

export interface GuestFile {
  readonly path: string;
  readonly mode: number;
  /** `user[:group]` by name or number, resolved in the guest. */
  readonly owner: string;
  readonly content: Uint8Array;
  readonly persistent?: boolean | undefined;
}

export interface ProcessSpec {
  readonly argv: readonly string[];
  /** `NAME=value`; secrets that go to the environment are in here and nowhere else. HOME is added from passwd if absent. */
  readonly env: readonly string[];
  /** `user[:group]`, names or numbers; empty is root. */
  readonly user: string;
  readonly cwd: string;
  readonly tty?: { readonly rows: number; readonly cols: number } | undefined;
  /** Docker's default of 14 capabilities, or all. */
  readonly privileged?: boolean | undefined;
}

export interface ProcessExit {
  /** Exit status, or undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: number | undefined;
  /** The kernel's OOM killer did it. */
  readonly oomKilled: boolean;
  /** The program could not be started: errno name and which path (ENOENT, EACCES, ENOEXEC...). */
  readonly startError?:
    | { readonly errno: string; readonly path: string; readonly interpreter?: string | undefined }
    | undefined;
}

/** A process in the guest: the app itself or an exec. */
export interface GuestProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<ProcessExit>;
  kill(signal: number): void;
  resize(rows: number, cols: number): void;
}

export type GuestEvent =
  | { readonly type: "oom"; readonly pid: number; readonly name: string; readonly rssBytes: number }
  | { readonly type: "port"; readonly port: number; readonly protocol: "tcp" | "udp"; readonly listening: boolean }
  | { readonly type: "errorlog"; readonly path: string; readonly line: string }
  | { readonly type: "warning"; readonly message: string };

/** What the guest measured since boot; for idle detection and `stats`. */
export interface GuestStats {
  readonly cpuUsec: number;
  readonly memoryUsedBytes: number;
  readonly diskBytes: number;
  readonly networkBytes: number;
  readonly connections: number;
  readonly processes: number;
}

/** The host's end of a guest that has said hello. */
export interface Guest {
  readonly hello: GuestHello;
  /** Sends the boot configuration; resolves once the root is up and the app (if any) has been started. */
  boot(config: BootConfig): Promise<GuestProcess | undefined>;
  exec(process: ProcessSpec): Promise<GuestProcess>;
  stats(): Promise<GuestStats>;
  /** Corrects the guest's clock (after resume). */
  setClock(): Promise<void>;
  /** Flushes everything to the disks. */
  sync(): Promise<void>;
  /** Asks the app to end (its stop signal), SIGKILL after `graceMs`; unmounts, and powers the machine off. */
  shutdown(options: { readonly signal: number; readonly graceMs: number }): Promise<void>;
  on(listener: (event: GuestEvent) => void): void;
  /** Rejects when the guest breaks the protocol or the port closes. */
  readonly closed: Promise<void>;
}

export interface ConnectOptions {
  /** Milliseconds to wait for hello. */
  readonly timeoutMs: number;
}

/** @throws AegisError GUEST_SILENT, GUEST_PROTOCOL */
export type ConnectGuest = (control: Duplex, options: ConnectOptions) => Promise<Guest>;

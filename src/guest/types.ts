/**
 * What the host tells the harness (PID 1 of the guest) and what it hears back, as values. harness/PROTOCOL.md fixes the
 * bytes; frames.ts, fields.ts and messages.ts in this room encode and decode them.
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
  /** Bottom first: a disk's root, or a directory on it (`/upper` of an earlier writable disk). At most 8. */
  readonly lowers: readonly (number | { readonly disk: number; readonly directory: string })[];
  /** Disk whose /upper and /work are used; a tmpfs when undefined. Its filesystem is grown to the disk's size. */
  readonly upper?: number | undefined;
  /**
   * Paths that something will be mounted on and that the images may lack. They exist in a layer below everything, so that no
   * mount point is ever written to the upper disk; those of the boot configuration itself need not be named.
   */
  readonly mountPoints?: readonly { readonly path: string; readonly type: "file" | "directory" }[] | undefined;
  /** fsync does nothing (build steps): the disk is whole only after an orderly shutdown. */
  readonly volatile?: boolean | undefined;
}

export interface GuestNetwork {
  readonly address: string;
  readonly prefix: number;
  readonly gateway: string;
  readonly dns: readonly string[];
  readonly mtu?: number | undefined;
}

export type GuestMount =
  | {
      readonly type: "virtiofs";
      readonly tag: string;
      readonly target: string;
      readonly readOnly: boolean;
      /** The one file of the share that is wanted, at `target`. */
      readonly file?: string | undefined;
    }
  | {
      readonly type: "tmpfs";
      readonly target: string;
      readonly size?: number | undefined;
      /** 01777 by default. */
      readonly mode?: number | undefined;
      readonly uid?: number | undefined;
      readonly gid?: number | undefined;
      readonly noexec?: boolean | undefined;
      readonly readOnly?: boolean | undefined;
    }
  | {
      readonly type: "disk";
      readonly disk: number;
      /** Absolute path on that disk; a missing directory is made where the disk is writable. */
      readonly subpath: string;
      readonly target: string;
      readonly readOnly: boolean;
      /** An empty directory is first filled with what the image has at the target, as Docker does with new volumes. */
      readonly copyUp?: boolean | undefined;
      /** Of a missing directory that is made. */
      readonly mode?: number | undefined;
      readonly uid?: number | undefined;
      readonly gid?: number | undefined;
      /** Writable, but nothing that is written stays (`RUN --mount=type=bind,rw`). */
      readonly discard?: boolean | undefined;
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
  /** Supplementary groups, instead of those that the group file gives. */
  readonly groups?: readonly number[] | undefined;
  readonly cwd: string;
  readonly tty?: { readonly rows: number; readonly cols: number } | undefined;
  /** All capabilities and a /dev with all devices, instead of Docker's default of 14 capabilities. */
  readonly privileged?: boolean | undefined;
  /** `NET_ADMIN`, `CAP_NET_ADMIN` or `ALL`. */
  readonly capAdd?: readonly string[] | undefined;
  readonly capDrop?: readonly string[] | undefined;
  readonly limits?: readonly ResourceLimit[] | undefined;
  /** Makes a missing `cwd` (owned by root, 0755). */
  readonly createCwd?: boolean | undefined;
  /** Runs as a build step: PID 1 of its own namespaces on the guest's root, with the view that a container has. */
  readonly sandbox?: SandboxSpec | undefined;
}

/** `--ulimit`: a name of setrlimit(2) in lower case (`nofile`, `nproc`, ...); -1 is unlimited. */
export interface ResourceLimit {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

export interface ForwardedSocket {
  readonly target: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** A new connection, for each that a program in the guest makes. */
  connect(): Duplex;
}

export interface SandboxSpec {
  /** BuildKit's is `buildkitsandbox`. */
  readonly hostname: string;
  /** `none`: a network namespace with loopback only. */
  readonly network: "guest" | "none";
  /** `--security=insecure`: nothing masked or read-only; capabilities are `privileged`'s business. */
  readonly insecure?: boolean | undefined;
  readonly shmSize?: number | undefined;
  /** In order. Mount points that are missing are made and, when still empty, removed after the step. */
  readonly mounts: readonly GuestMount[];
  /** Unix sockets whose connections go to the host (an SSH agent). At most 16 in a guest. */
  readonly sockets?: readonly ForwardedSocket[] | undefined;
  /** Secrets of the step, on a tmpfs that ends with it. */
  readonly files: readonly GuestFile[];
  readonly extraHosts: readonly { readonly address: string; readonly name: string }[];
}

export interface ProcessExit {
  /** Exit status, or undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: number | undefined;
  /** The kernel's OOM killer did it. */
  readonly oomKilled: boolean;
  readonly startError?: StartError | undefined;
}

/** The program could not be started. */
export interface StartError {
  /** `ENOENT`, `EACCES`, `ENOEXEC`, ... */
  readonly errno: string;
  /** What was wrong: the program, the user or group asked for, the working directory, a limit, the sandbox around it. */
  readonly stage: "exec" | "user" | "group" | "cwd" | "limit" | "sandbox";
  /** The path, name or sentence that goes with the stage. */
  readonly path: string;
  /** The interpreter that a script's first line or an ELF file names, when it is what is missing. */
  readonly interpreter?: string | undefined;
}

/**
 * A process in the guest: the app itself or an exec. `exited` resolves as soon as it has ended, however much of its output is
 * still unread; `stdout` and `stderr` end when all that it wrote has been delivered. With a terminal all is `stdout`.
 */
export interface GuestProcess {
  /** In the guest; undefined when it could not be started. */
  readonly pid: number | undefined;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<ProcessExit>;
  kill(signal: number): void;
  resize(rows: number, cols: number): void;
}

export type GuestEvent =
  /** A writable disk has no room left; told again when it had some in between. */
  | { readonly type: "diskFull"; readonly disk: number; readonly sizeBytes: number }
  | { readonly type: "oom"; readonly pid: number; readonly name: string; readonly rssBytes: number }
  | { readonly type: "port"; readonly port: number; readonly protocol: "tcp" | "udp"; readonly listening: boolean }
  | { readonly type: "errorlog"; readonly path: string; readonly line: string }
  | { readonly type: "warning"; readonly message: string };

/** What the guest measured since boot; for idle detection and `stats`. */
export interface GuestStats {
  readonly cpuUsec: number;
  readonly memoryUsedBytes: number;
  readonly diskReadBytes: number;
  readonly diskWrittenBytes: number;
  readonly networkReceivedBytes: number;
  readonly networkSentBytes: number;
  /** Established TCP connections with anybody outside of the guest, either way. */
  readonly connections: number;
  readonly processes: number;
}

export interface ShutdownOptions {
  readonly signal: number;
  readonly graceMs: number;
  /** How the guest ends the machine; `restart` (the default) is what ends both VMMs. */
  readonly how?: "restart" | "powerOff" | "halt" | undefined;
}

/** The host's end of a guest that has said hello. */
export interface Guest {
  readonly hello: GuestHello;
  /**
   * Sends the boot configuration and the host's time; resolves once the root is up and the app (if any) has been started, or
   * could not be (`startError` of its exit).
   * @throws AegisError GUEST_BOOT what the harness could not set up
   */
  boot(config: BootConfig): Promise<GuestProcess | undefined>;
  /** @throws AegisError GUEST_EXEC when the guest can't take it (not booted, stopping, too many) */
  exec(process: ProcessSpec): Promise<GuestProcess>;
  stats(): Promise<GuestStats>;
  /** Corrects the guest's clock (after resume). */
  setClock(): Promise<void>;
  /** Flushes everything to the disks. */
  sync(): Promise<void>;
  /**
   * Asks the app to end (its stop signal), SIGKILL after `graceMs`; resolves when all disks are unmounted, at the moment before
   * the machine ends. Asked again, the shorter grace counts.
   */
  shutdown(options: ShutdownOptions): Promise<void>;
  on(listener: (event: GuestEvent) => void): void;
  /** Resolves when the port closes after a shutdown; rejects when it closes before, or the guest breaks the protocol. */
  readonly closed: Promise<void>;
}

export interface ConnectOptions {
  /** Milliseconds to wait for hello. */
  readonly timeoutMs: number;
}

/** @throws AegisError GUEST_SILENT, GUEST_PROTOCOL */
export type ConnectGuest = (control: Duplex, options: ConnectOptions) => Promise<Guest>;

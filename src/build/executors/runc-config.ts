/** The runtime configuration for runc: OCI runtime specification 1.0, with Docker's defaults for a container. */
import { hostPlatform } from "../../oci/platforms.js";
import type { ResourceLimit } from "../request-limits.js";
import { seccompProfile } from "./seccomp.js";
import type { RunRequest } from "./types.js";

/** Docker's default capabilities. */
const defaultCapabilities = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

/** What Docker hides of /proc and /sys. */
const maskedPaths = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];
const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

interface Mount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface RuncOptions {
  readonly rootfs: string;
  /** Capabilities that this process has itself; never more are asked for. */
  readonly available: ReadonlySet<string>;
  /** Bind mounts: host path, path in the container, options. */
  readonly binds: readonly { readonly source: string; readonly target: string; readonly options: readonly string[] }[];
  readonly createHook?: string | undefined;
}

export function runcConfig(request: RunRequest, options: RuncOptions): object {
  const wanted = request.privileged ? [...options.available] : defaultCapabilities;
  const capabilities = wanted.filter((name) => options.available.has(name));
  const namespaces = ["pid", "ipc", "uts", "mount", ...(request.network === "none" ? ["network"] : [])];
  if (options.createHook !== undefined) namespaces.push("network");
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: {
        uid: request.user.uid,
        gid: request.user.gid,
        additionalGids: request.user.additionalGids,
        umask: 0o022,
      },
      args: request.argv,
      env: request.env,
      cwd: request.cwd,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: false,
      ...(request.limits.length === 0 ? {} : { rlimits: request.limits.map(rlimit) }),
    },
    root: { path: options.rootfs, readonly: false },
    hostname: request.hostname,
    mounts: mounts(request, options),
    ...(options.createHook === undefined
      ? {}
      : { hooks: { createRuntime: [{ path: "/bin/sh", args: ["sh", options.createHook] }] } }),
    linux: {
      namespaces: namespaces.map((type) => ({ type })),
      maskedPaths: request.privileged ? [] : maskedPaths,
      readonlyPaths: request.privileged ? [] : readonlyPaths,
      ...(request.privileged ? {} : { seccomp: seccompProfile(hostPlatform().architecture) }),
      resources: { devices: [{ allow: true, access: "rwm" }] },
    },
  };
}

/** The configuration as runc reads it: unlimited is the largest 64-bit number there, which a number here can't be. */
export const encodeRuncConfig = (config: object): string =>
  JSON.stringify(config).replace(/"(soft|hard)":9007199254740991(?=[,}])/g, '"$1":18446744073709551615');

const rlimit = ({ name, soft, hard }: ResourceLimit) => ({
  type: `RLIMIT_${name.toUpperCase()}`,
  soft: soft === -1 ? Number.MAX_SAFE_INTEGER : soft,
  hard: hard === -1 ? Number.MAX_SAFE_INTEGER : hard,
});

function mounts(request: RunRequest, options: RuncOptions): readonly Mount[] {
  const guarded = ["nosuid", "noexec", "nodev"];
  const tmpfs = request.mounts.flatMap((mount): Mount[] =>
    mount.type !== "tmpfs"
      ? []
      : [
          {
            destination: mount.target,
            type: "tmpfs",
            source: "tmpfs",
            options: ["nosuid", "nodev", ...(mount.size === undefined ? [] : [`size=${mount.size}`])],
          },
        ],
  );
  const binds = options.binds.map(({ source, target, options: extra }) => ({
    destination: target,
    type: "bind",
    source,
    options: ["rbind", ...extra],
  }));
  return [
    { destination: "/proc", type: "proc", source: "proc", options: guarded },
    ...(request.privileged
      ? [{ destination: "/dev", type: "bind", source: "/dev", options: ["rbind", "rw"] }]
      : devices),
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
      destination: "/dev/shm",
      type: "tmpfs",
      source: "shm",
      options: [...guarded, "mode=1777", `size=${request.shmSize}`],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: guarded },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...guarded, request.privileged ? "rw" : "ro"] },
    ...[...tmpfs, ...binds].sort((a, b) => (a.destination < b.destination ? -1 : 1)),
  ];
}

/**
 * A /dev that works without letting the step open device nodes that it makes itself: the host's are bound over places where runc
 * would make some, which that "nodev" then does not hold for.
 */
const devices: readonly Mount[] = [
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "mode=755", "size=64m"] },
  ...["null", "zero", "full", "random", "urandom", "tty"].map((name) => ({
    destination: `/dev/${name}`,
    type: "bind",
    source: `/dev/${name}`,
    options: ["bind"],
  })),
];

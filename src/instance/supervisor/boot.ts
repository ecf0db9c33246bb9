/** From an instance's settings to the machine's devices and the guest's boot configuration. */
import path from "node:path";
import { renderTemplate } from "../../dockerfile/template.js";
import type { BootConfig, GuestFile, GuestMount, ProcessSpec } from "../../guest/types.js";
import { AegisError } from "../../support/errors.js";
import type { AegisHome } from "../../support/home.js";
import type { DiskSpec, Network, ShareSpec } from "../../vmm/types.js";
import type { ExecRequest, TerminalSize } from "../messages.js";
import { filesOf } from "../store.js";
import type { InstanceConfig } from "../types.js";
import { volumeFiles } from "../volumes.js";
import type { SharedFiles } from "./shared-files.js";

/** Values by name; they live in this process's memory only. */
export type SecretValues = ReadonlyMap<string, Buffer>;

export interface Devices {
  readonly disks: readonly DiskSpec[];
  readonly shares: readonly ShareSpec[];
  readonly mounts: readonly GuestMount[];
  /** Disks to create before the first boot. */
  readonly writable: readonly {
    readonly path: string;
    readonly sizeBytes: number;
    /** The image it lies over; undefined for volumes. */
    readonly over: InstanceConfig["image"] | undefined;
  }[];
  readonly root: BootConfig["root"];
}

export function planDevices(
  home: AegisHome,
  config: InstanceConfig,
  lowers: readonly string[],
  files: SharedFiles["byTarget"],
): Devices {
  const { disk, volumesDisk } = filesOf(home, config.id);
  const disks: DiskSpec[] = lowers.map((lower) => ({ path: lower, readOnly: true }));
  const shares: ShareSpec[] = [];
  const mounts: GuestMount[] = [];
  const writable: Devices["writable"][number][] = [];
  const addDisk = (file: string, over?: InstanceConfig["image"]): number => {
    writable.push({ path: file, sizeBytes: config.diskBytes, over });
    return disks.push({ path: file, readOnly: false }) - 1;
  };
  // One device for all single files: there are few.
  const addShare = (hostPath: string, readOnly: boolean): string => {
    const known = shares.find((share) => share.hostPath === hostPath && share.readOnly === readOnly);
    if (known) return known.tag;
    const tag = `share${shares.length}`;
    shares.push({ tag, hostPath, readOnly });
    return tag;
  };
  const upper = addDisk(disk, config.image);
  let anonymous: number | undefined;
  for (const volume of config.volumes) {
    const { target } = volume;
    if (volume.kind === "tmpfs") mounts.push({ type: "tmpfs", target, size: volume.size, mode: volume.mode });
    else if (volume.kind === "bind") {
      const { readOnly } = volume;
      const file = files.get(target);
      const tag = addShare(file?.directory ?? volume.hostPath, readOnly);
      mounts.push({ type: "virtiofs", tag, target, readOnly, file: file?.name });
    } else if (volume.kind === "volume") {
      const disk = addDisk(volumeFiles(home, volume.name).disk);
      mounts.push({ type: "disk", disk, subpath: "/volumes/data", target, readOnly: volume.readOnly, copyUp: true });
    } else {
      anonymous ??= addDisk(volumesDisk);
      const subpath = path.posix.join("/volumes", encodeURIComponent(target));
      mounts.push({ type: "disk", disk: anonymous, subpath, target, readOnly: false, copyUp: true });
    }
  }
  mounts.push(...directoriesOfRenders(config));
  // Parents before what is mounted in them.
  mounts.sort((a, b) => a.target.length - b.target.length);
  return { disks, shares, mounts, writable, root: { lowers: lowers.map((_, i) => i), upper } };
}

/** The app's process, with the secrets that go to its environment. */
export function processSpec(
  config: InstanceConfig,
  secrets: SecretValues,
  size: TerminalSize | undefined,
): ProcessSpec {
  const { process } = config;
  return {
    argv: process.argv,
    env: withSecrets(config, secrets),
    user: process.user,
    cwd: process.cwd,
    tty: process.tty ? (size ?? { rows: 24, cols: 80 }) : undefined,
    privileged: process.privileged,
    createCwd: true,
  };
}

/** A command beside the app: the app's environment, user and directory unless it asks for others. */
export function execSpec(config: InstanceConfig, secrets: SecretValues, request: ExecRequest): ProcessSpec {
  const env = new Map(withSecrets(config, secrets).map((pair) => [pair.slice(0, pair.indexOf("=")), pair]));
  for (const pair of request.env) env.set(pair.slice(0, pair.indexOf("=")), pair);
  if (request.size && !env.has("TERM")) env.set("TERM", "TERM=xterm");
  return {
    argv: request.argv,
    env: [...env.values()],
    user: request.user ?? config.process.user,
    cwd: request.cwd ?? config.process.cwd,
    tty: request.size,
    privileged: request.privileged,
  };
}

function withSecrets(config: InstanceConfig, secrets: SecretValues): readonly string[] {
  const env = new Map(config.process.env.map((pair) => [pair.slice(0, pair.indexOf("=")), pair] as const));
  for (const { name, delivery } of config.secrets) {
    const value = secrets.get(name);
    if (value === undefined || delivery.kind !== "env") continue;
    env.set(delivery.variable, `${delivery.variable}=${value.toString("utf8")}`);
  }
  return [...env.values()];
}

export function bootConfig(
  config: InstanceConfig,
  parts: {
    readonly devices: Devices;
    readonly network: Network | undefined;
    readonly secrets: SecretValues;
    readonly size: TerminalSize | undefined;
    readonly files: readonly GuestFile[];
  },
): BootConfig {
  const { devices, network, secrets } = parts;
  const alias = network && config.hostLoopback ? [{ address: network.hostAlias, name: "host.aegis.internal" }] : [];
  return {
    hostname: config.hostname,
    root: devices.root,
    network: network?.guest,
    extraHosts: [
      ...config.extraHosts.map(({ address, name }) => ({
        address: address === "host-gateway" ? (network?.hostAlias ?? "127.0.0.1") : address,
        name,
      })),
      ...alias,
    ],
    mounts: devices.mounts,
    files: parts.files,
    ports: config.ports.map(({ guestPort, protocol }) => ({ port: guestPort, protocol })),
    process: processSpec(config, secrets, parts.size),
    errorLogs: config.errorLogs,
    shmSize: config.shmBytes,
    readOnlyRoot: config.readOnlyRoot,
  };
}

/** Secrets that are delivered as files, and what RENDER makes of them. @throws AegisError RENDER_UNSET, RENDER_SYNTAX */
export const bootFiles = (config: InstanceConfig, secrets: SecretValues): readonly GuestFile[] => [
  ...secretFiles(config, secrets),
  ...renderedFiles(config, secrets),
];

function secretFiles(config: InstanceConfig, secrets: SecretValues): readonly GuestFile[] {
  return config.secrets.flatMap(({ name, delivery }) => {
    const content = secrets.get(name);
    if (content === undefined || delivery.kind !== "file") return [];
    return [{ path: delivery.path, mode: delivery.mode, owner: delivery.owner ?? ownerOf(config), content }];
  });
}

function renderedFiles(config: InstanceConfig, secrets: SecretValues): readonly GuestFile[] {
  const env = new Map(withSecrets(config, secrets).map((pair) => splitPair(pair)));
  const values = {
    secret: (name: string) => secrets.get(name)?.toString("utf8"),
    env: (name: string) => env.get(name),
  };
  return config.renders.map(({ path: target, mode, owner, tmpfs, template }) => ({
    path: target,
    mode,
    owner: owner ?? ownerOf(config),
    content: Buffer.from(renderFile(target, template, values)),
    // A plain file of the directory that is in memory.
    persistent: tmpfs,
  }));
}

function renderFile(target: string, template: string, values: Parameters<typeof renderTemplate>[1]): string {
  try {
    return renderTemplate(template, values);
  } catch (error) {
    if (!(error instanceof AegisError)) throw error;
    const { code, hint, details } = error;
    throw new AegisError(code, `RENDER ${target}: ${error.message}`, {
      cause: error,
      ...(hint && { hint }),
      ...(details && { details }),
    });
  }
}

/** In memory, for the owner alone where he has a number; who bears a name is known to the guest only. */
function directoriesOfRenders(config: InstanceConfig): readonly GuestMount[] {
  const byTarget = new Map<string, GuestMount>();
  for (const { path: file, owner = ownerOf(config), tmpfs } of config.renders) {
    if (!tmpfs) continue;
    const target = path.posix.dirname(file);
    const [, uid, gid] = /^(\d+)(?::(\d+))?$/.exec(owner) ?? [];
    const access = uid === undefined ? {} : { mode: 0o700, uid: Number(uid), gid: Number(gid ?? 0) };
    byTarget.set(target, { type: "tmpfs", target, ...access });
  }
  return [...byTarget.values()];
}

/** Files for the app belong to the user that it runs as. */
const ownerOf = (config: InstanceConfig) => config.process.user || "0:0";

function splitPair(pair: string): readonly [string, string] {
  const equals = pair.indexOf("=");
  return [pair.slice(0, equals), pair.slice(equals + 1)];
}

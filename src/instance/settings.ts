/** From an image's configuration and what was asked on the command line to an instance's settings, each with its origin. */
import { availableParallelism } from "node:os";
import type { RuntimeConfig, StoredImage } from "../oci/types.js";
import type { RootDisks } from "../rootfs/types.js";
import type { SecretRequest } from "../secrets/spec.js";
import type { InstanceId } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import { formatSize } from "../support/sizes.js";
import type { PortForward } from "../vmm/types.js";
import type { PortRequest } from "./ports.js";
import { exposedPorts, isPortFree } from "./ports.js";
import { parseSignal } from "./signals.js";
import type { InstanceConfig, Origin, RenderedFile, RestartPolicy, VolumeMount } from "./types.js";

/** What flags say; undefined leaves it to the image. */
export interface RunFlags {
  readonly name?: string | undefined;
  /** Replaces the image's Cmd when not empty. */
  readonly command: readonly string[];
  /** "" clears the image's entrypoint. */
  readonly entrypoint?: string | undefined;
  /** `NAME=value`, already looked up where only a name was given. */
  readonly env: readonly string[];
  readonly user?: string | undefined;
  readonly cwd?: string | undefined;
  readonly ports: readonly PortRequest[];
  readonly publishAll: boolean;
  readonly memoryBytes?: number | undefined;
  readonly cpus?: number | undefined;
  readonly diskBytes?: number | undefined;
  readonly volumes: readonly VolumeMount[];
  /** Host directory for the image's WORKSPACE. */
  readonly workspace?: string | undefined;
  readonly secrets: readonly SecretRequest[];
  readonly hostname?: string | undefined;
  readonly extraHosts: readonly { readonly address: string; readonly name: string }[];
  readonly network: boolean;
  readonly hostLoopback: boolean;
  readonly restart?: RestartPolicy | undefined;
  readonly autoRemove: boolean;
  readonly idleMs?: number | "off" | undefined;
  readonly tty: boolean;
  readonly openStdin: boolean;
  readonly privileged: boolean;
  readonly stopSignal?: number | undefined;
  readonly stopGraceMs?: number | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly readOnlyRoot: boolean;
  readonly shmBytes?: number | undefined;
  readonly vmm?: "krun" | "qemu" | undefined;
}

/** What an Aegisfile put into the image for the machine. */
export interface ImageSettings {
  readonly memoryBytes?: number | undefined;
  readonly cpus?: number | undefined;
  readonly diskBytes?: number | undefined;
  readonly idleMs?: number | "off" | undefined;
  readonly restart?: RestartPolicy | undefined;
  readonly secrets: readonly SecretRequest[];
  readonly renders: readonly RenderedFile[];
  readonly workspace?: string | undefined;
  readonly errorLogs: readonly { readonly glob: string; readonly field?: string | undefined }[];
}

export interface Identity {
  readonly id: InstanceId;
  readonly name: string;
  readonly createdAt: string;
  /** Where a WORKSPACE lives when no directory was named. */
  readonly defaultWorkspace: string;
}

const defaults = { memoryBytes: 2 ** 30, diskBytes: 20 * 2 ** 30, stopGraceMs: 10_000 } as const;
/** Less than this does not boot: the kernel alone takes some 40 MiB. */
const leastMemoryBytes = 64 * 2 ** 20;
const mostCpus = 16;
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** @throws AegisError NO_COMMAND, MEMORY_TOO_SMALL, BAD_CPUS, DISK_TOO_SMALL, NO_WORKSPACE */
export async function planInstance(
  image: StoredImage,
  reference: string,
  root: RootDisks,
  flags: RunFlags,
  settings: ImageSettings,
  identity: Identity,
): Promise<InstanceConfig> {
  const config: RuntimeConfig = image.config.config ?? {};
  const origins: Record<string, Origin> = {};
  const pick = <T>(key: string, flag: T | undefined, fromImage: T | undefined, fallback: T): T => {
    origins[key] = flag !== undefined ? "flag" : fromImage !== undefined ? "image" : "default";
    return flag ?? fromImage ?? fallback;
  };
  const imageSignal = config.StopSignal ? parseSignal(config.StopSignal) : undefined;
  const idle = pick<number | "off">("idle", flags.idleMs, settings.idleMs, "off");
  const hostname = flags.hostname ?? identity.name.replace(/[^a-zA-Z0-9-]/g, "-");
  const planned: InstanceConfig = {
    schema: 1,
    id: identity.id,
    name: identity.name,
    createdAt: identity.createdAt,
    image: { reference, digest: image.target.digest, chainId: root.chainId, lowers: root.lowers },
    process: {
      argv: argvOf(config, flags, origins),
      env: environment(config, flags, hostname),
      user: pick("user", flags.user, config.User || undefined, ""),
      cwd: pick("cwd", flags.cwd, config.WorkingDir || undefined, "/"),
      tty: flags.tty,
      openStdin: flags.openStdin,
      privileged: flags.privileged,
    },
    stopSignal: pick("stopSignal", flags.stopSignal, imageSignal, 15),
    stopGraceMs: flags.stopGraceMs ?? defaults.stopGraceMs,
    memoryBytes: pick("memory", flags.memoryBytes, settings.memoryBytes, defaults.memoryBytes),
    cpus: pick("cpus", flags.cpus, settings.cpus, Math.min(2, availableParallelism())),
    vmm: flags.vmm,
    diskBytes: pick("disk", flags.diskBytes, settings.diskBytes, defaults.diskBytes),
    ports: [],
    volumes: volumes(config, flags, settings, identity),
    secrets: secrets(flags, settings),
    renders: settings.renders,
    errorLogs: settings.errorLogs,
    hostname,
    extraHosts: flags.extraHosts,
    network: flags.network,
    hostLoopback: flags.hostLoopback || flags.extraHosts.some(({ address }) => address === "host-gateway"),
    restart: pick<RestartPolicy>("restart", flags.restart, settings.restart, { kind: "no" }),
    autoRemove: flags.autoRemove,
    idleMs: idle === "off" ? undefined : idle,
    readOnlyRoot: flags.readOnlyRoot,
    shmBytes: flags.shmBytes,
    labels: { ...config.Labels, ...flags.labels },
    origins,
  };
  check(planned);
  return planned;
}

function check(config: InstanceConfig): void {
  if (config.memoryBytes < leastMemoryBytes) {
    throw new AegisError(
      "MEMORY_TOO_SMALL",
      `${formatSize(config.memoryBytes)} of memory is too little for a machine`,
      {
        hint: `give it at least ${leastMemoryBytes / 2 ** 20}m: --memory 512m`,
      },
    );
  }
  if (!Number.isInteger(config.cpus) || config.cpus < 1 || config.cpus > mostCpus) {
    throw new AegisError("BAD_CPUS", `a machine can't have ${config.cpus} processors`, {
      hint: `give it 1 to ${mostCpus}, whole ones: --cpus 2`,
    });
  }
  if (config.diskBytes < 16 * 2 ** 20) {
    throw new AegisError("DISK_TOO_SMALL", `${formatSize(config.diskBytes)} is too little for the writable disk`, {
      hint: "give it some gigabytes; it takes only what is written: --disk 20g",
    });
  }
}

function argvOf(config: RuntimeConfig, flags: RunFlags, origins: Record<string, Origin>): readonly string[] {
  const entrypoint =
    flags.entrypoint === undefined ? (config.Entrypoint ?? []) : flags.entrypoint === "" ? [] : [flags.entrypoint];
  // As in Docker: an entrypoint of one's own drops the image's Cmd.
  const command = flags.command.length > 0 || flags.entrypoint !== undefined ? flags.command : (config.Cmd ?? []);
  origins.command = flags.command.length > 0 || flags.entrypoint !== undefined ? "flag" : "image";
  const argv = [...entrypoint, ...command];
  if (argv.length > 0) return argv;
  throw new AegisError("NO_COMMAND", "the image says nothing about what to run", {
    hint: "give a command after the image, or set CMD or ENTRYPOINT when building it",
  });
}

function environment(config: RuntimeConfig, flags: RunFlags, hostname: string): readonly string[] {
  const env = new Map<string, string>();
  const add = (pair: string) => env.set(pair.split("=", 1)[0]!, pair);
  for (const pair of [defaultPath, `HOSTNAME=${hostname}`, ...(flags.tty ? ["TERM=xterm"] : [])]) add(pair);
  for (const pair of [...(config.Env ?? []), ...flags.env]) add(pair);
  return [...env.values()];
}

function volumes(
  config: RuntimeConfig,
  flags: RunFlags,
  settings: ImageSettings,
  identity: Identity,
): readonly VolumeMount[] {
  const byTarget = new Map<string, VolumeMount>();
  for (const target of Object.keys(config.Volumes ?? {})) byTarget.set(target, { kind: "anonymous", target });
  if (flags.workspace !== undefined && settings.workspace === undefined) {
    throw new AegisError("NO_WORKSPACE", "--workspace is given, but the image declares no WORKSPACE", {
      hint: "mount the directory with -v DIR:/guest/path",
    });
  }
  if (settings.workspace !== undefined) {
    const hostPath = flags.workspace ?? identity.defaultWorkspace;
    byTarget.set(settings.workspace, { kind: "bind", hostPath, target: settings.workspace, readOnly: false });
  }
  for (const volume of flags.volumes) byTarget.set(volume.target, volume);
  return [...byTarget.values()];
}

/** A flag for a secret that the image declares says where it comes from; the image's delivery stays unless the flag has one. */
function secrets(flags: RunFlags, settings: ImageSettings): readonly SecretRequest[] {
  const byName = new Map(settings.secrets.map((secret) => [secret.name, secret]));
  for (const flag of flags.secrets) {
    const declared = byName.get(flag.name);
    const delivery = declared && flag.delivery.kind === "env" ? declared.delivery : flag.delivery;
    byName.set(flag.name, { ...flag, delivery });
  }
  return [...byName.values()];
}

/** What is to be published: the flags' ports, and with `-P` everything that the image exposes. */
export async function portsToPublish(image: StoredImage, flags: RunFlags): Promise<readonly PortRequest[]> {
  if (!flags.publishAll) return flags.ports;
  const have = new Set(flags.ports.map((port) => `${port.guestPort}/${port.protocol}`));
  const exposed = exposedPorts(image.config.config?.ExposedPorts);
  const more: PortForward[] = [];
  for (const port of exposed.filter((p) => !have.has(`${p.guestPort}/${p.protocol}`))) {
    // The same number when it is free: nobody has to look it up.
    more.push((await isPortFree(port)) ? port : { ...port, hostPort: 0 });
  }
  return [...flags.ports, ...more];
}

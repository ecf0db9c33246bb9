/** What an instance is on disk: `instance.json` says what was asked for, `state.json` what became of it. No secret is in either. */
import type { ImageDisk } from "../rootfs/types.js";
import type { SecretRequest } from "../secrets/spec.js";
import type { ChainId, Digest, InstanceId } from "../support/brands.js";
import type { PortForward } from "../vmm/types.js";

/** Where a setting came from; flags win over the image, the image over defaults. */
export type Origin = "flag" | "image" | "default";

export type RestartPolicy =
  | { readonly kind: "no" }
  | { readonly kind: "always" }
  | { readonly kind: "unless-stopped" }
  | { readonly kind: "on-failure"; readonly maxRetries: number | undefined };

export type VolumeMount =
  /** A directory or file of the host, shared by virtio-fs. */
  | { readonly kind: "bind"; readonly hostPath: string; readonly target: string; readonly readOnly: boolean }
  /** A named volume: an ext4 disk of its own under `$AEGIS_HOME/volumes`. */
  | { readonly kind: "volume"; readonly name: string; readonly target: string; readonly readOnly: boolean }
  /** VOLUME of the image without a name: a directory on the instance's volumes disk. */
  | { readonly kind: "anonymous"; readonly target: string }
  | {
      readonly kind: "tmpfs";
      readonly target: string;
      readonly size: number | undefined;
      readonly mode: number | undefined;
    };

/** RENDER: a file made at each boot from secrets and environment. */
export interface RenderedFile {
  readonly path: string;
  readonly mode: number;
  /** The app's user when undefined. */
  readonly owner: string | undefined;
  /** Its directory is in memory too, so that the app can replace it: a mounted file can't be renamed over. */
  readonly tmpfs?: boolean | undefined;
  readonly template: string;
}

export interface InstanceConfig {
  readonly schema: 1;
  readonly id: InstanceId;
  readonly name: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly image: {
    /** As it was asked for. */
    readonly reference: string;
    readonly digest: Digest;
    readonly chainId: ChainId;
    readonly lowers: readonly ImageDisk[];
  };
  readonly process: {
    readonly argv: readonly string[];
    readonly env: readonly string[];
    readonly user: string;
    readonly cwd: string;
    readonly tty: boolean;
    readonly openStdin: boolean;
    readonly privileged: boolean;
  };
  readonly stopSignal: number;
  readonly stopGraceMs: number;
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly vmm: "krun" | "qemu" | undefined;
  /** Size of the writable disk; it is sparse. */
  readonly diskBytes: number;
  readonly ports: readonly PortForward[];
  readonly volumes: readonly VolumeMount[];
  readonly secrets: readonly SecretRequest[];
  readonly renders: readonly RenderedFile[];
  readonly errorLogs: readonly { readonly glob: string; readonly field?: string | undefined }[];
  readonly hostname: string;
  readonly extraHosts: readonly { readonly address: string; readonly name: string }[];
  readonly network: boolean;
  /** The guest may reach the host's own loopback. */
  readonly hostLoopback: boolean;
  readonly restart: RestartPolicy;
  readonly autoRemove: boolean;
  /** Pause after this much quiet; undefined is never. */
  readonly idleMs: number | undefined;
  readonly readOnlyRoot: boolean;
  readonly shmBytes: number | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly origins: Readonly<Record<string, Origin>>;
}

export type InstanceStatus = "created" | "starting" | "running" | "paused" | "stopping" | "exited";

export interface InstanceState {
  readonly schema: 1;
  readonly status: InstanceStatus;
  readonly startedAt?: string | undefined;
  readonly finishedAt?: string | undefined;
  /** As a shell would report it: the app's own status, 128+n for a signal, 125 to 127 when it never ran. */
  readonly exitCode?: number | undefined;
  readonly oomKilled?: boolean | undefined;
  /** One line on why it ended, when there is more to say than its exit code. */
  readonly reason?: string | undefined;
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string | undefined } | undefined;
  readonly supervisorPid?: number | undefined;
  readonly vmmPid?: number | undefined;
  readonly driver?: "krun" | "qemu" | undefined;
  readonly restartCount?: number | undefined;
  /** Paused by hand, or because it was idle (a connection wakes it). */
  readonly pausedBy?: "hand" | "idle" | undefined;
  /** `stop` was asked for: restart policies leave it alone. */
  readonly stoppedByUser?: boolean | undefined;
}

/** An instance as commands see it; `status` is checked against the lock that its supervisor holds. */
export interface Instance {
  readonly config: InstanceConfig;
  readonly state: InstanceState;
}

export const isActive = (status: InstanceStatus): boolean => status !== "created" && status !== "exited";

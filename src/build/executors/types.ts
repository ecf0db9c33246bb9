/** Where RUN steps run: a container on this host, or a microVM. Both get the same overlay and leave the same kind of disk. */
import type { ExtraHost } from "../../support/extra-hosts.js";
import type { ResourceLimit } from "../request-limits.js";
import type { NetworkMode } from "../types.js";

/** A read-only layer of the overlay: a directory inside an ext4 image file. */
export interface Lower {
  readonly disk: string;
  /** `/` for an image disk, `/upper` for the scratch disk of an earlier RUN. */
  readonly directory: "/" | "/upper";
}

export interface RunUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

/** A mount of `RUN --mount`, its source already at hand. Targets are absolute and resolved inside the root. */
export type RunMountSpec =
  /** Content of an ext4 image file; what is written to it is thrown away. */
  | {
      readonly type: "disk";
      readonly target: string;
      readonly disk: string;
      readonly subpath: string;
      /** What is at `subpath` is a file. */
      readonly single: boolean;
      readonly readOnly: boolean;
    }
  | { readonly type: "cache"; readonly target: string; readonly cache: CacheVolume; readonly readOnly: boolean }
  | { readonly type: "tmpfs"; readonly target: string; readonly size?: number | undefined; readonly mode: number }
  | {
      readonly type: "file";
      /** Secrets are not. */
      readonly executable: boolean;
      readonly target: string;
      readonly content: Uint8Array;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly type: "socket";
      readonly target: string;
      readonly hostPath: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    };

export interface CacheVolume {
  /** Of equal ids one directory is shared; what a cache begins with is part of it. */
  readonly id: string;
  readonly sharing: "shared" | "private" | "locked";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** What it begins with, attributes of the directory included: a directory of an ext4 image file. */
  readonly seed?: { readonly disk: string; readonly subpath: string } | undefined;
}

export interface MountPoint {
  readonly path: string;
  readonly type: "file" | "directory";
  /** Of a directory; 0755 unless told. */
  readonly mode?: number | undefined;
}

export interface RunRequest {
  readonly argv: readonly string[];
  /** `NAME=value`, HOME included. */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: RunUser;
  readonly network: NetworkMode;
  readonly privileged: boolean;
  readonly hostname: string;
  readonly extraHosts: readonly ExtraHost[];
  readonly shmSize: number;
  readonly limits: readonly ResourceLimit[];
  /** Bytes, where the executor decides how much there is. */
  readonly memory: number | undefined;
  readonly mounts: readonly RunMountSpec[];
  /** Bottom first. */
  readonly lowers: readonly Lower[];
  /**
   * Paths that something is mounted on and that the root may lack. They are provided by a layer below everything, so that no
   * mount point is ever made in the upper directory.
   */
  readonly mountPoints: readonly MountPoint[];
  /** ext4 image with `/upper` and `/work`; read after the run. */
  readonly scratch: string;
  readonly output: (stream: "stdout" | "stderr", chunk: Uint8Array) => void;
  readonly note: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface RunOutcome {
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** The program could not be started at all. */
  readonly startError?: string | undefined;
}

export interface Executor {
  readonly name: "container" | "vm";
  /** Whether the scratch disk of one RUN can be a lower of the next. */
  readonly stacksScratch: boolean;
  run(request: RunRequest): Promise<RunOutcome>;
}

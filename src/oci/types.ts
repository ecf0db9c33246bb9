/** Shapes of the OCI image specification 1.1, with Docker's extensions where images in the wild carry them. */
import type { DiffId, Digest } from "../support/brands.js";

/** descriptor.md */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly artifactType?: string;
}

/** image-index.md, `platform`; values are Go's. */
export interface Platform {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  readonly "os.version"?: string;
}

/** manifest.md */
export interface ImageManifest {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** image-index.md */
export interface ImageIndex {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** config.md, plus the fields Docker adds (Healthcheck, Shell, OnBuild, ArgsEscaped). */
export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  readonly created?: string | null;
  readonly author?: string;
  readonly config?: RuntimeConfig;
  readonly rootfs: { readonly type: "layers"; readonly diff_ids: readonly DiffId[] };
  readonly history?: readonly HistoryEntry[];
}

export interface RuntimeConfig {
  readonly User?: string;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  /** `NAME=value`, in order. */
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Volumes?: Readonly<Record<string, object>>;
  readonly WorkingDir?: string;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
  readonly Shell?: readonly string[];
  readonly Healthcheck?: Healthcheck;
  readonly OnBuild?: readonly string[];
  readonly ArgsEscaped?: boolean;
}

/** Docker image spec 1.3; durations in nanoseconds. */
export interface Healthcheck {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

export interface HistoryEntry {
  readonly created?: string;
  readonly created_by?: string;
  readonly author?: string;
  readonly comment?: string;
  readonly empty_layer?: boolean;
}

/** One platform's image as it lies in a store: its manifest and config, already verified against their digests. */
export interface StoredImage {
  /** Descriptor of the manifest. */
  readonly target: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** Names that lead to this image, normalised (`docker.io/library/node:22`). */
  readonly names: readonly string[];
}

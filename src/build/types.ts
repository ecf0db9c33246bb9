/** What a build is asked for, what it tells while it runs, and what it gives. */
import type { Descriptor, ImageConfig, Platform } from "../oci/types.js";
import type { Digest } from "../support/brands.js";
import type { ExtraHost } from "../support/extra-hosts.js";
import type { GitAddress } from "./context/git-address.js";
import type { Entitlement } from "./entitlements.js";
import type { Annotation } from "./export/annotations.js";
import type { WrittenPlatform } from "./export/image.js";
import type { ProvenanceFacts, ProvenanceMode } from "./export/provenance.js";
import type { CacheSource, CacheTarget } from "./request-cache.js";
import type { ResourceLimit } from "./request-limits.js";
import type { BuildOutput } from "./request-outputs.js";

export type Isolation = "auto" | "vm" | "container";

export interface BuildRequest {
  /** The build context; undefined for none. */
  readonly context: ContextSource | undefined;
  /** Where the build was asked for: `run` without an image takes it there, and in its context. */
  readonly directory: string;
  /** The Dockerfile's text, when it does not come from a file (`-f -`). */
  readonly text?: Uint8Array | undefined;
  /**
   * `--build-context`, by `contextName`: trees and images that take the place of images, and of stages, of that name in FROM
   * and wherever files are taken from.
   */
  readonly contexts: Readonly<Record<string, NamedContext>>;
  /** Stages (names or indexes) whose steps are done again; everything with `noCache`. */
  readonly noCacheStages: readonly string[];
  readonly annotations: readonly Annotation[];
  /** How much the image's provenance tells; undefined for none. */
  readonly provenance: ProvenanceMode | undefined;
  /**
   * Path or web address of the Dockerfile; a path is of this machine where the context is a directory of it, else of the
   * context unless it is absolute. undefined looks for `Aegisfile`, then `Dockerfile` in the context.
   */
  readonly file?: string | undefined;
  readonly tags: readonly string[];
  /** Stage name or index; the last stage when undefined. */
  readonly target?: string | undefined;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly noCache: boolean;
  readonly isolation: Isolation;
  /** The platform that is built, of several the one at hand. */
  readonly platform: Platform;
  /** All that are wanted, at least one. */
  readonly platforms: readonly Platform[];
  /** There is an index, and a directory for each platform, though there may be but one. */
  readonly asIndex: boolean;
  /** Fetch images that FROM names even if they are in the store. */
  readonly pull: boolean;
  /** Network of RUN steps that don't say. */
  readonly network: NetworkMode;
  readonly extraHosts: readonly ExtraHost[];
  /** What RUNs may have beyond a container. */
  readonly allowed: readonly Entitlement[];
  readonly limits: readonly ResourceLimit[];
  /** Bytes of memory of a step that runs in a machine. */
  readonly memory?: number | undefined;
  /** `--secret`, by id; read when a step asks. */
  readonly secrets: Readonly<Record<string, () => Promise<Uint8Array>>>;
  /** `--ssh`: sockets of agents, by id. */
  readonly agents: Readonly<Record<string, string>>;
  /** Bytes of /dev/shm in RUN steps. */
  readonly shmSize?: number | undefined;
  /** SOURCE_DATE_EPOCH in seconds: every time in the result is at most this. */
  readonly epoch?: number | undefined;
  /** `--cache-from`: asked in this order, after the own cache. */
  readonly cacheFrom: readonly CacheSource[];
  readonly cacheTo: readonly CacheTarget[];
  readonly outputs: readonly BuildOutput[];
  /** Takes what an output sends to `-`. */
  readonly stdout: (chunk: Uint8Array) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/** Where a tree to build from comes from. */
export type ContextSource =
  | { readonly type: "directory"; readonly path: string }
  /** A tar, packed or not; `open` is called once. */
  | { readonly type: "archive"; readonly name: string; readonly open: () => AsyncIterable<Uint8Array> }
  /** An archive on the web, or a file, which is then called `context`, as the reference calls it. */
  | { readonly type: "remote"; readonly url: string }
  | { readonly type: "git"; readonly address: GitAddress };

/** `reference` may be a layout's, `oci-layout://DIR`. */
export type NamedContext = ContextSource | { readonly type: "image"; readonly reference: string };

export type NetworkMode = "default" | "none" | "host";

export interface BuildResult {
  /** Descriptor of the image's manifest, or of the index above several. */
  readonly image: Descriptor;
  /** The manifests and configs, by platform. */
  readonly images: readonly WrittenPlatform[];
  readonly facts: ProvenanceFacts;
  /** Of the first platform. */
  readonly config: ImageConfig;
  /** What `-q` prints and `--iidfile` holds: the digest of the manifest or index. */
  readonly imageId: Digest;
  /** Normalised. */
  readonly names: readonly string[];
  readonly steps: number;
  readonly cachedSteps: number;
}

/** Steps are numbered from 1 in the order in which they are announced; what isn't a step of the Dockerfile counts too. */
export type BuildEvent =
  | { readonly type: "started"; readonly step: number; readonly title: string }
  | { readonly type: "output"; readonly step: number; readonly stream: "stdout" | "stderr"; readonly chunk: Uint8Array }
  | { readonly type: "note"; readonly step: number; readonly text: string }
  | { readonly type: "finished"; readonly step: number; readonly cached: boolean; readonly ms: number }
  | { readonly type: "failed"; readonly step: number; readonly message: string; readonly canceled: boolean }
  | {
      readonly type: "warning";
      readonly rule?: string | undefined;
      readonly text: string;
      readonly line?: number | undefined;
    };

export type Report = (event: BuildEvent) => void;

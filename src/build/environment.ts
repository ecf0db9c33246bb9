/** What all parts of one build share. */
import type { ImageStore } from "../oci/store.js";
import type { AegisHome } from "../support/home.js";
import type { CacheImports } from "./cache/import.js";
import type { StepCache, StepRecord } from "./cache/steps.js";
import type { Executor } from "./executors/types.js";
import type { LayerSupply } from "./layer-supply.js";
import type { Progress } from "./progress.js";
import type { BuildRequest } from "./types.js";

export interface BuildEnvironment {
  readonly request: BuildRequest;
  readonly home: AegisHome;
  readonly store: ImageStore;
  readonly cache: StepCache;
  /** Caches of other machines; undefined when none was named. */
  readonly imports: CacheImports | undefined;
  /** Steps by key and trees by question that this build made use of, done or found. */
  readonly used: { readonly steps: Map<string, StepRecord>; readonly trees: Map<string, string> };
  /** Whoever reads a layer asks for it here first. */
  readonly layers: LayerSupply;
  readonly progress: Progress;
  /** Chosen, and its choice explained, when the first RUN needs it. */
  executor(): Promise<Executor>;
  /** Released when the build ends. */
  closeAtEnd(resource: Disposable): void;
  /** A fresh path in this build's own temporary directory, which goes when the build ends. */
  temporary(name: string): Promise<string>;
}

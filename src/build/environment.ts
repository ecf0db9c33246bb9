/** What all parts of one build share. */
import type { ImageStore } from "../oci/store.js";
import type { AegisHome } from "../support/home.js";
import type { StepCache } from "./cache/steps.js";
import type { Executor } from "./executors/types.js";
import type { LayerSupply } from "./layer-supply.js";
import type { Progress } from "./progress.js";
import type { BuildRequest } from "./types.js";

export interface BuildEnvironment {
  readonly request: BuildRequest;
  readonly home: AegisHome;
  readonly store: ImageStore;
  readonly cache: StepCache;
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

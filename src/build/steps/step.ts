/** The solver's view of a step: a key that says whether it has been done before, and a way to do it. */
import { createHash } from "node:crypto";
import type { Descriptor } from "../../oci/types.js";
import type { DiffId } from "../../support/brands.js";
import type { TreeSink } from "../../support/tree.js";

export interface LayerRef {
  readonly descriptor: Descriptor;
  readonly diffId: DiffId;
}

/** A step that makes a layer. */
export interface LayerStep {
  /** History's `created_by`. */
  readonly createdBy: string;
  /** How the reference calls it when it isn't by its title. */
  readonly calledAs?: string;
  /** Equal for steps that would make the same layer; hex. */
  key(): Promise<string>;
  /** Pushes the layer's entries. */
  produce(sink: TreeSink): Promise<void>;
  /** Called with the layer once it is stored; not for a cached one. */
  stored?(): Promise<StepLeftover>;
  /** Always called at the end, if `produce` was. */
  dispose?(): Promise<void>;
}

/** What doing a step leaves besides its layer. */
export interface StepLeftover {
  /** ext4 image whose `/upper` holds the layer as an overlay lower; whoever takes it removes it. */
  readonly scratch?: string | undefined;
}

type Hashable =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly Hashable[]
  | { readonly [key: string]: Hashable };

/** Counted up when a step makes something else of the same words than the results that caches of users hold. */
const meaning = 2;

/** Digest of plain data, hex. */
export const keyOf = (value: Hashable): string =>
  createHash("sha256")
    .update(JSON.stringify([meaning, value]))
    .digest("hex");

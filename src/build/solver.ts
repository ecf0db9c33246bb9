/** Does a step, unless it has been done before: key, cache, lock, layer, record. */
import type { TreeEntry, TreeSink } from "../support/tree.js";
import type { BuildEnvironment } from "./environment.js";
import type { StepHandle } from "./progress.js";
import type { FreshLayer } from "./roots.js";
import type { LayerRef, LayerStep } from "./steps/step.js";
import { LayerIndex } from "./tree/layer-index.js";

export interface SolvedStep {
  readonly layer: LayerRef;
  readonly step: LayerStep;
  /** When the layer was made, RFC 3339. */
  readonly created: string;
  /** Set when it was made just now. */
  readonly fresh: FreshLayer | undefined;
}

export interface SolveOptions {
  readonly noCache: boolean;
  /** Layers that the step builds on. */
  readonly below: readonly LayerRef[];
}

/** `make` gets a way to the step's progress, for what it has to say while it runs. */
export async function solve(
  title: string,
  make: (progress: () => StepHandle) => Promise<LayerStep>,
  environment: BuildEnvironment,
  options: SolveOptions,
): Promise<SolvedStep> {
  environment.request.signal?.throwIfAborted();
  const progress = environment.progress.start(title, { layer: true });
  try {
    const step = await make(() => progress);
    const key = await step.key();
    const { cache } = environment;
    const hit = async () => {
      if (options.noCache) return undefined;
      const record = (await cache.find(key)) ?? environment.imports?.find(key, environment.layers);
      if (!record) return undefined;
      environment.used.steps.set(key, record);
      progress.done(true);
      return { ...record, step, fresh: undefined };
    };
    const found = await hit();
    if (found) return found;
    await using _lock = await cache.lock(key);
    // Another build may have done it while this one waited.
    const meanwhile = await hit();
    if (meanwhile) return meanwhile;
    environment.layers.begin(options.below.map(({ descriptor }) => descriptor));
    const solved = await perform(step, environment);
    const record = { layer: solved.layer, created: solved.created };
    await cache.store(key, record);
    environment.used.steps.set(key, record);
    progress.done();
    return solved;
  } catch (error) {
    progress.failed(error);
    throw error;
  }
}

async function perform(step: LayerStep, environment: BuildEnvironment): Promise<SolvedStep> {
  const index = new LayerIndex();
  const { writeLayer } = await import("../oci/layers.js");
  const { epoch } = environment.request;
  const written = await writeLayer(environment.store, (sink) => step.produce(normalised(index.recorder(sink), epoch)), {
    compression: "gzip",
  });
  const layer = { descriptor: written.descriptor, diffId: written.diffId };
  const leftover = await step.stored?.();
  return {
    layer,
    step,
    created: new Date().toISOString(),
    fresh: { index, scratch: leftover?.scratch },
  };
}

/**
 * Layers carry what the reference's do: whole seconds, no time after SOURCE_DATE_EPOCH, and of all extended attributes
 * only file capabilities.
 */
function normalised(sink: TreeSink, epoch: number | undefined): TreeSink {
  const dated = (entry: TreeEntry): TreeEntry => {
    const sec = Math.min(entry.mtime.sec, epoch ?? Number.POSITIVE_INFINITY);
    return entry.mtime.nsec === 0 && sec === entry.mtime.sec ? entry : { ...entry, mtime: { sec, nsec: 0 } };
  };
  const capable = (entry: TreeEntry): TreeEntry => {
    if (!entry.xattrs || entry.xattrs.size === 0) return entry;
    const value = entry.xattrs.get(capability);
    return { ...entry, xattrs: value && new Map([[capability, value]]) };
  };
  return {
    entry: (entry) => sink.entry(capable(dated(entry))),
    data: (chunk) => sink.data(chunk),
    hole: (length) => sink.hole(length),
    drain: () => sink.drain(),
  };
}

const capability = "security.capability";

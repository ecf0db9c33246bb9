/** An image while its instructions are gone through: config, history and layers so far. */
import { isServedBy } from "../oci/platforms.js";
import type { HistoryEntry, Platform, RuntimeConfig, StoredImage } from "../oci/types.js";
import type { LayerRef } from "./steps/step.js";

export interface ImageDraft {
  /** The one that is built for. */
  readonly platform: Platform;
  /** The base image's own, when it is another one. */
  readonly programs?: Platform | undefined;
  readonly config: RuntimeConfig;
  readonly author?: string | undefined;
  readonly history: readonly HistoryEntry[];
  readonly layers: readonly LayerRef[];
  /**
   * Set where the bottom layer is a context's, which has no line of history: as in the reference one at the end makes up for
   * it, that tells what made the layer on top.
   */
  readonly topStep?: HistoryEntry | undefined;
  /** Fields that an unchanged base image keeps. */
  readonly created?: string | undefined;
}

const comment = "buildkit.dockerfile.v0";

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** `FROM scratch`: Docker's default PATH and `/` to work in. */
export const scratchDraft = (platform: Platform): ImageDraft => ({
  platform,
  config: { Env: [defaultPath], WorkingDir: "/" },
  history: [],
  layers: [],
});

/**
 * `FROM image`. An image that sets no PATH gets the default one, behind what it sets; one of another platform than the
 * wanted is taken as if it were of that.
 */
export function draftOf(image: StoredImage, wanted?: Platform): ImageDraft {
  const { config, manifest } = image;
  const layers = manifest.layers.map((descriptor, i) => ({ descriptor, diffId: config.rootfs.diff_ids[i]! }));
  const { architecture, os, variant } = config;
  const own: Platform = { architecture, os, ...(variant === undefined ? {} : { variant }) };
  return {
    ...(wanted === undefined || isServedBy(wanted, own) ? { platform: own } : { platform: wanted, programs: own }),
    config: withPath(config.config ?? {}),
    author: config.author,
    history: config.history ?? [],
    layers,
    created: config.created ?? undefined,
  };
}

function withPath(config: RuntimeConfig): RuntimeConfig {
  const env = config.Env ?? [];
  return env.some((pair) => pair.startsWith("PATH=")) ? config : { ...config, Env: [...env, defaultPath] };
}

/** Applies a config instruction: what changes, and its line of history. */
export function withConfig(
  draft: ImageDraft,
  change: RuntimeConfig,
  createdBy: string,
  epoch: string | undefined,
): ImageDraft {
  const entry: HistoryEntry = { ...created(epoch), created_by: createdBy, comment, empty_layer: true };
  return { ...draft, config: { ...draft.config, ...change }, history: [...draft.history, entry] };
}

/** Adds a step's layer and its line of history; `calledAs` is how the reference calls the step. */
export function withLayer(
  draft: ImageDraft,
  layer: LayerRef,
  { createdBy, calledAs, when }: { readonly createdBy: string; readonly calledAs: string; readonly when: string },
): ImageDraft {
  const entry: HistoryEntry = { created: when, created_by: createdBy, comment };
  const topStep = draft.topStep && exported(calledAs, when);
  return { ...draft, layers: [...draft.layers, layer], history: [...draft.history, entry], topStep };
}

/** Puts a context's layer at the bottom. */
export const withContext = (draft: ImageDraft, layer: LayerRef, name: string, when: string): ImageDraft => ({
  ...draft,
  layers: [layer],
  topStep: exported(`local source for ${name}`, when),
});

const exported = (createdBy: string, when: string): HistoryEntry => ({
  created: when,
  created_by: createdBy,
  comment: "buildkit.exporter.image.v0",
});

const created = (when: string | undefined) => (when === undefined ? {} : { created: when });

/**
 * History with every entry dated: an instruction without a layer takes the time of the layer before it, or of the first new
 * layer when there is none.
 */
export function datedHistory(draft: ImageDraft, inherited: number): readonly HistoryEntry[] {
  const own = draft.history.slice(inherited);
  let at =
    own.find((entry) => entry.created !== undefined)?.created ??
    draft.history.at(inherited - 1)?.created ??
    draft.created;
  const dated = draft.history.map((entry, i) => {
    if (i < inherited) return entry;
    at = entry.created ?? at;
    return { ...created(at), ...entry, ...created(entry.created ?? at) };
  });
  return draft.topStep ? [...dated, draft.topStep] : dated;
}

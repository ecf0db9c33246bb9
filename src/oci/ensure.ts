/** An image for FROM and for run: from the store if it may come from there, else pulled. */
import { AegisError } from "../support/errors.js";
import { type LayoutReference, parseLayoutReference } from "./archive/layout-reference.js";
import { formatPlatform } from "./platforms.js";
import { familiarName } from "./references.js";
import type { PendingPull, PreparedPull, PullOptions } from "./registry/pull.js";
import { type ImageStore, imageNotFound } from "./store.js";
import type { StoredImage } from "./types.js";

export type PullPolicy = "always" | "missing" | "never";

export interface EnsureOptions extends PullOptions {
  readonly pull: PullPolicy;
}

/**
 * The image that `text` names (or, in the store, whose id it begins), pulled when the policy says so.
 * @throws AegisError IMAGE_NOT_FOUND, NO_SUCH_PLATFORM, and everything that pulling throws
 */
export async function ensureImage(store: ImageStore, text: string, options: EnsureOptions): Promise<StoredImage> {
  const pending = await beginImage(store, text, options);
  await pending.finished;
  return pending.image;
}

/** As `ensureImage`, but resolves when it is known which layers the image has; they may still be on their way. */
export async function beginImage(store: ImageStore, text: string, options: EnsureOptions): Promise<PendingPull> {
  return (await prepareImage(store, text, options)).begin();
}

/** As `beginImage`, but layers that the store lacks are not fetched until `begin` is called. */
export async function prepareImage(store: ImageStore, text: string, options: EnsureOptions): Promise<PreparedPull> {
  const layout = parseLayoutReference(text);
  if (layout) return here(await fromLayout(store, layout, options));
  if (options.pull !== "always") {
    const stored = await store.resolve(text, { platform: options.platform });
    if (stored && (await isComplete(store, stored))) return here(stored);
  }
  if (options.pull === "never") throw await missing(store, text, options);
  const { preparePull } = await import("./registry/pull.js");
  try {
    return await preparePull(store, text, options);
  } catch (error) {
    if (!(error instanceof AegisError) || !error.code.startsWith("REGISTRY_")) throw error;
    throw unpulled(text, options, error);
  }
}

/** A pull that the user may not have asked for: says what was looked for, and keeps code and advice. */
function unpulled(text: string, { pull }: EnsureOptions, cause: AegisError): AegisError {
  const where = pull === "missing" ? "is not in the store and " : "";
  const { hint, details } = cause;
  return new AegisError(cause.code, `${familiarName(text)} ${where}can't be pulled: ${cause.message}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { ...details, reference: text },
    cause,
  });
}

const here = (image: StoredImage): PreparedPull => ({
  image,
  begin: () => ({ image, layerReady: async () => undefined, finished: Promise.resolve() }),
  [Symbol.asyncDispose]: async () => undefined,
});

/** `oci:DIR[:NAME]`: the directory is read each time, so that the store has what it holds now. */
async function fromLayout(store: ImageStore, layout: LayoutReference, options: EnsureOptions): Promise<StoredImage> {
  const { loadLayoutDirectory } = await import("./archive/layout.js");
  const loaded = await loadLayoutDirectory(store, layout, { keepNames: false });
  if (loaded.length !== 1) {
    throw new AegisError("LAYOUT_AMBIGUOUS", `the layout ${layout.directory} holds ${loaded.length} images`, {
      hint: `name one of them: oci:${layout.directory}:NAME`,
    });
  }
  const image = await store.resolve(loaded[0]!.target.digest, { platform: options.platform });
  if (image) return image;
  throw new AegisError("NO_SUCH_PLATFORM", `the layout ${layout.directory} has no image for the wanted platform`, {
    hint: "ask for another one with --platform",
  });
}

async function isComplete(store: ImageStore, { manifest }: StoredImage): Promise<boolean> {
  for (const layer of manifest.layers) if (!(await store.hasBlob(layer.digest))) return false;
  return true;
}

async function missing(store: ImageStore, text: string, options: EnsureOptions): Promise<AegisError> {
  const platforms = (await store.list()).find((it) => it.names.includes(text))?.platforms ?? [];
  if (!options.platform || !(await store.find(text))) return imageNotFound(text);
  return new AegisError(
    "NO_SUCH_PLATFORM",
    `${familiarName(text)} is not in the store for ${formatPlatform(options.platform)}`,
    {
      hint: "pull it for this platform, or allow pulling",
      details: { stored: platforms.map((it) => formatPlatform(it.platform)) },
    },
  );
}

/** What an instance has changed: told path by path, or kept as an image of one more layer. */
import { applyChange } from "../oci/archive/changes.js";
import { writeLayer } from "../oci/layers.js";
import { withLayerType } from "../oci/media-types.js";
import type { ImageStore } from "../oci/store.js";
import type { HistoryEntry, ImageConfig, StoredImage } from "../oci/types.js";
import { changesOf, diffUpper } from "../rootfs/diff.js";
import { decodeText } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { type InstanceTrees, withInstanceTrees } from "./trees.js";

export interface InstanceChange {
  /** Added, changed, deleted. */
  readonly kind: "A" | "C" | "D";
  readonly path: string;
}

/** Parents first, names in byte order. */
export const diffInstance = (home: AegisHome, nameOrId: string): Promise<readonly InstanceChange[]> =>
  withInstanceTrees(home, nameOrId, async ({ upper, lower, mountPoints }) => {
    const letters = { add: "A", modify: "C", remove: "D" } as const;
    const found: InstanceChange[] = [];
    for await (const change of changesOf(upper, lower, { skip: mountPoints })) {
      // That a directory was emptied shows in what was told of it before.
      if (change.kind !== "empty") found.push({ kind: letters[change.kind], path: `/${decodeText(change.path)}` });
    }
    return found;
  });

export interface CommitOptions {
  readonly reference: string | undefined;
  /** Dockerfile instructions for the config. */
  readonly changes: readonly string[];
  readonly message: string | undefined;
  readonly author: string | undefined;
  /** RFC 3339. */
  readonly created: string;
}

/**
 * The instance's image with what the instance changed on top. Settings are those of the image and of `changes`: flags of
 * `run`, and secrets above all, stay with the instance.
 * @throws AegisError INSTANCE_UNKNOWN, IMAGE_GONE, BAD_CHANGE
 */
export async function commitInstance(
  home: AegisHome,
  store: ImageStore,
  nameOrId: string,
  options: CommitOptions,
): Promise<StoredImage> {
  return await withInstanceTrees(home, nameOrId, async (trees) => {
    const { image, process } = trees.config;
    const base = await store.resolve(image.digest);
    if (!base) {
      throw new AegisError("IMAGE_GONE", `${image.reference}, which ${trees.config.name} was made from, is gone`, {
        hint: `get the same image again, or save the files alone: aegis export ${trees.config.name} -o FILE`,
        details: { digest: image.digest },
      });
    }
    const runtime = options.changes.reduce(applyChange, base.config.config ?? {});
    const layer = await changedLayer(store, trees);
    const entry: HistoryEntry = {
      created: options.created,
      created_by: process.argv.join(" "),
      ...(options.author === undefined ? {} : { author: options.author }),
      ...(options.message === undefined ? {} : { comment: options.message }),
      ...(layer ? {} : { empty_layer: true }),
    };
    const config: ImageConfig = {
      ...base.config,
      created: options.created,
      ...(options.author === undefined ? {} : { author: options.author }),
      config: runtime,
      rootfs: { type: "layers", diff_ids: [...base.config.rootfs.diff_ids, ...(layer ? [layer.diffId] : [])] },
      history: [...(base.config.history ?? base.manifest.layers.map(() => ({}))), entry],
    };
    // The manifest is OCI's, whatever the base image's was.
    const below = base.manifest.layers.map((it) => withLayerType(it, false));
    const layers = [...below, ...(layer ? [layer.descriptor] : [])];
    return await store.putImage({ config, layers }, options.reference === undefined ? [] : [options.reference]);
  });
}

/** Undefined when nothing has changed. */
async function changedLayer(store: ImageStore, { upper, lower, mountPoints }: InstanceTrees) {
  const layer = await writeLayer(store, (sink) => diffUpper(upper, lower, sink, { skip: mountPoints }), {
    compression: "gzip",
  });
  return layer.entries > 0 ? layer : undefined;
}

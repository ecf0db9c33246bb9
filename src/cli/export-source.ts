/** What `export` is asked for: an instance, or else an image. */
import { findByName } from "../instance/store.js";
import { type InstanceTrees, withInstanceTrees } from "../instance/trees.js";
import { ensureRootDisks } from "../rootfs/disks.js";
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { withStore } from "./images.js";

/** Calls `body` with the disks, which stay as they are meanwhile. @throws AegisError EXPORT_UNKNOWN */
export async function withRootOf<T>(
  home: AegisHome,
  source: string,
  body: (root: Pick<InstanceTrees, "disks" | "writable">) => Promise<T>,
): Promise<T> {
  if (await findByName(home, source)) return await withInstanceTrees(home, source, body);
  return await withStore(home, async (store) => {
    const image = await store.resolve(source).catch(() => undefined);
    if (image) {
      const disks = await ensureRootDisks(home, store, { config: image.config, layers: image.manifest.layers });
      return await body({ disks, writable: undefined });
    }
    return await withInstanceTrees(home, source, body).catch((error: unknown) => {
      if (!(error instanceof AegisError) || error.code !== "INSTANCE_UNKNOWN") throw error;
      throw new AegisError("EXPORT_UNKNOWN", `there is neither an instance nor an image ${source}`, {
        hint: "see `aegis ps -a` and `aegis images`",
      });
    });
  });
}

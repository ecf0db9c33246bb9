/** The image disks that an instance lies on, made again when they are gone. */
import { openImageStore } from "../oci/store.js";
import { exists } from "../rootfs/chains.js";
import { ensureRootDisks } from "../rootfs/disks.js";
import type { RootDisks } from "../rootfs/types.js";
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import type { InstanceConfig } from "./types.js";

export interface Lowers extends AsyncDisposable {
  readonly disks: RootDisks;
}

/**
 * Disks that were made again are safe from collection until they are disposed of; the instance itself keeps the others.
 * @throws AegisError IMAGE_GONE
 */
export async function presentLowers(home: AegisHome, { image, name }: InstanceConfig): Promise<Lowers> {
  const { chainId, lowers } = image;
  const there = await Promise.all(lowers.map((lower) => exists(lower.path)));
  if (there.every((found) => found)) {
    return { disks: { chainId, lowers }, [Symbol.asyncDispose]: async () => undefined };
  }
  const store = await openImageStore(home.images);
  try {
    const stored = await store.resolve(image.digest);
    if (!stored) {
      throw new AegisError("IMAGE_GONE", `${name} was made from ${image.reference}, whose image and disks are gone`, {
        hint: "get the same image again, or run a new instance",
        details: { digest: image.digest },
      });
    }
    const disks = await ensureRootDisks(home, store, { config: stored.config, layers: stored.manifest.layers });
    return { disks, [Symbol.asyncDispose]: () => store.close() };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Images that FROM and `--from` name. */
import { existsSync } from "node:fs";
import type { Platform, StoredImage } from "../oci/types.js";
import { AegisError } from "../support/errors.js";
import { registriesFile } from "../support/home.js";
import type { BuildEnvironment } from "./environment.js";
import type { LayerRef } from "./steps/step.js";

/** @throws AegisError IMAGE_NOT_FOUND, NO_SUCH_PLATFORM and what pulling throws */
export async function resolveImage(
  environment: BuildEnvironment,
  reference: string,
  platform: Platform,
): Promise<StoredImage> {
  const { pull, signal } = environment.request;
  // Only looked at: a build that has nothing to do takes no lease. Who reads its layers pins them first.
  const found = pull ? undefined : await stored(environment, reference, platform);
  if (found && present(environment, found)) return found;
  const { ensureImage } = await import("../oci/ensure.js");
  const registry = { settingsFile: registriesFile(environment.home) };
  return await ensureImage(environment.store, reference, {
    platform,
    pull: pull ? "always" : "missing",
    signal,
    registry,
  });
}

/** An image that comes for one platform only is taken for what it is, as the reference does; a warning tells. */
async function stored(
  { store }: BuildEnvironment,
  reference: string,
  platform: Platform,
): Promise<StoredImage | undefined> {
  const fitting = await store.resolve(reference, { platform, pin: false });
  if (fitting) return fitting;
  const record = await store.find(reference, { pin: false });
  const only = record && (await store.resolve(reference, { pin: false }));
  return only && only.target.digest === record.target.digest ? only : undefined;
}

function present({ store }: BuildEnvironment, { manifest }: StoredImage): boolean {
  return manifest.layers.every(({ digest }) => existsSync(store.blobPath(digest)));
}

/**
 * Makes layers safe from collection until the build ends.
 * @throws AegisError LAYERS_COLLECTED when one has just been collected
 */
export async function pinLayers({ store }: BuildEnvironment, layers: readonly LayerRef[]): Promise<void> {
  for (const { descriptor } of layers) {
    if (await store.hasBlob(descriptor.digest)) continue;
    throw new AegisError("LAYERS_COLLECTED", `the layer ${descriptor.digest} was removed while it was needed`, {
      hint: "a prune ran at the same time; build again",
    });
  }
}

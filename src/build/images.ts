/** Images that FROM and `--from` name. */
import type { Platform, StoredImage } from "../oci/types.js";
import { registriesFile } from "../support/home.js";
import type { BuildEnvironment } from "./environment.js";

/** @throws AegisError IMAGE_NOT_FOUND, NO_SUCH_PLATFORM and what pulling throws */
export async function resolveImage(
  environment: BuildEnvironment,
  reference: string,
  platform: Platform,
): Promise<StoredImage> {
  const { ensureImage } = await import("../oci/ensure.js");
  const { pull, signal } = environment.request;
  const registry = { settingsFile: registriesFile(environment.home) };
  return await ensureImage(environment.store, reference, {
    platform,
    pull: pull ? "always" : "missing",
    signal,
    registry,
  });
}

/** The image that `run` was asked for: by name, or the one that was built last for this directory; with its disks. */
import { type LastBuild, readLastBuild } from "../build/last-build.js";
import { imageSettings } from "../instance/image-settings.js";
import type { RunRequest } from "../instance/start.js";
import { beginImage, type EnsureOptions } from "../oci/ensure.js";
import { parsePlatform } from "../oci/platforms.js";
import { type ImageStore, openImageStore } from "../oci/store.js";
import type { Platform } from "../oci/types.js";
import { ensureRootDisks } from "../rootfs/disks.js";
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { usageError } from "./argv.js";
import { registryOptions } from "./images.js";
import { transferReporter } from "./render/transfer.js";

export interface ImageForRun {
  readonly request: Pick<RunRequest, "reference" | "image" | "root" | "settings">;
  /** Until then the image and its disks are safe from collection; later the instance keeps them. */
  release(): Promise<void>;
}

/** @throws AegisError IMAGE_NOT_FOUND, NOTHING_BUILT, and what pulling throws */
export async function findImage(
  home: AegisHome,
  asked: {
    readonly reference: string | undefined;
    readonly pull: string;
    readonly platform: string | undefined;
    readonly note: (line: string) => void;
  },
): Promise<ImageForRun> {
  const last = asked.reference === undefined ? await lastBuild(home, process.cwd()) : undefined;
  const wanted = asked.reference ?? last!.image;
  const platform = asked.platform === undefined ? undefined : parsePlatform(asked.platform);
  const store = await openImageStore(home.images);
  try {
    const { image, root } = await present(home, store, wanted, asked, platform);
    const request = {
      reference: asked.reference ?? last!.name,
      image,
      root,
      settings: imageSettings(image.config.config?.Labels),
    };
    return { request, release: () => store.close() };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function present(
  home: AegisHome,
  store: ImageStore,
  wanted: string,
  asked: { readonly reference: string | undefined; readonly pull: string; readonly note: (line: string) => void },
  platform: Platform | undefined,
): Promise<Pick<RunRequest, "image" | "root">> {
  const { pull } = asked;
  if (pull !== "missing" && pull !== "always" && pull !== "never") {
    throw usageError(`--pull is missing, always or never, not "${pull}"`, "run");
  }
  const reporter = transferReporter(process.stderr, { quiet: false });
  try {
    return await assemble(home, store, wanted, {
      // What was built here is nowhere else.
      pull: asked.reference === undefined ? "never" : pull,
      platform,
      registry: registryOptions(home),
      onProgress: reporter.report,
    });
  } finally {
    reporter.end();
  }
}

/** Layers become disks while later ones are still being downloaded. */
async function assemble(home: AegisHome, store: ImageStore, wanted: string, options: EnsureOptions) {
  const { image, layerReady, finished } = await beginImage(store, wanted, options);
  const { config, manifest } = image;
  const disks = ensureRootDisks(home, store, { config, layers: manifest.layers }, { layerReady });
  const [assembled, pulled] = await Promise.allSettled([disks, finished]);
  if (pulled.status === "rejected") throw pulled.reason;
  if (assembled.status === "rejected") throw assembled.reason;
  return { image, root: assembled.value };
}

/** @throws AegisError NOTHING_BUILT */
async function lastBuild(home: AegisHome, directory: string): Promise<LastBuild> {
  const last = await readLastBuild(home, directory);
  if (last) return last;
  throw new AegisError("NOTHING_BUILT", "no image was named, and none was built for this directory", {
    hint: 'run "aegis build" first, or name an image: aegis run IMAGE',
  });
}

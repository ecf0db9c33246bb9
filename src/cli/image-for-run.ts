/** The image that `run` was asked for: by name, or the one that was built last for this directory; with its disks. */
import { createHash } from "node:crypto";
import { readFile, realpath } from "node:fs/promises";
import path from "node:path";
import { imageSettings } from "../instance/image-settings.js";
import type { RunRequest } from "../instance/start.js";
import { parsePlatform } from "../oci/platforms.js";
import type { RegistryOptions } from "../oci/registry/session.js";
import { type ImageStore, imageNotFound } from "../oci/store.js";
import type { Platform, StoredImage } from "../oci/types.js";
import { ensureRootDisks } from "../rootfs/disks.js";
import { AegisError, hasErrno } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { usageError } from "./argv.js";
import { registryOptions, withStore } from "./images.js";
import { transferReporter } from "./render/transfer.js";

export type ImageForRun = Pick<RunRequest, "reference" | "image" | "root" | "settings">;

/** @throws AegisError IMAGE_NOT_FOUND, NOTHING_BUILT */
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
  return await withStore(home, async (store) => {
    const image = await present(store, wanted, asked, platform, registryOptions(home));
    const root = await ensureRootDisks(home, store, { config: image.config, layers: image.manifest.layers });
    return {
      reference: asked.reference ?? last!.name ?? wanted,
      image,
      root,
      settings: imageSettings(image.config.config?.Labels),
    };
  });
}

async function present(
  store: ImageStore,
  wanted: string,
  asked: { readonly reference: string | undefined; readonly pull: string; readonly note: (line: string) => void },
  platform: Platform | undefined,
  registry: RegistryOptions,
): Promise<StoredImage> {
  if (!["missing", "always", "never"].includes(asked.pull)) {
    throw usageError(`--pull is missing, always or never, not "${asked.pull}"`, "run");
  }
  const found = await store.resolve(wanted, { platform });
  // What was built here is nowhere else.
  const always = asked.pull === "always" && asked.reference !== undefined;
  if (found && !always) return found;
  if (asked.pull === "never" || asked.reference === undefined) throw imageNotFound(wanted);
  const { pullImage } = await import("../oci/registry/pull.js");
  asked.note(`${found ? "looking for a newer" : "no"} ${wanted} here${found ? "" : "; pulling it"}`);
  const reporter = transferReporter(process.stderr, { quiet: false });
  try {
    return await pullImage(store, wanted, { platform, registry, onProgress: reporter.report });
  } catch (cause) {
    if (!(cause instanceof AegisError) || !/^REGISTRY_/.test(cause.code)) throw cause;
    throw new AegisError(
      "IMAGE_NOT_FOUND",
      `there is no image ${wanted} in the store, and it can't be pulled: ${cause.message}`,
      {
        hint: cause.hint ?? 'build it, or bring it with "aegis load" or "aegis import"',
        cause,
      },
    );
  } finally {
    reporter.end();
  }
}

/** What `aegis build` noted about its last result for a directory. */
interface LastBuild {
  readonly image: string;
  readonly name?: string | undefined;
}

/** @throws AegisError NOTHING_BUILT */
async function lastBuild(home: AegisHome, directory: string): Promise<LastBuild> {
  const key = createHash("sha256")
    .update(await realpath(directory))
    .digest("hex");
  try {
    return JSON.parse(await readFile(path.join(home.cache, "last-build", `${key}.json`), "utf8")) as LastBuild;
  } catch (error) {
    if (!hasErrno(error, "ENOENT")) throw error;
    throw new AegisError("NOTHING_BUILT", "no image was named, and none was built for this directory", {
      hint: 'run "aegis build" first, or name an image: aegis run IMAGE',
    });
  }
}

/**
 * Directories of `RUN --mount=type=cache`, kept between builds under `$AEGIS_HOME/cache/mounts`. `shared` ones are given to
 * any number of steps at once, `locked` ones to one at a time, and a `private` one that is in use makes another.
 */
import { createHash } from "node:crypto";
import { chmod, chown, mkdir } from "node:fs/promises";
import path from "node:path";
import { hasErrno } from "../../support/errors.js";
import type { AegisHome } from "../../support/home.js";
import { acquireLock, type HeldLock, tryLock } from "../../support/locks.js";
import type { CacheVolume } from "../executors/types.js";

export interface CacheLease {
  readonly directory: string;
  release(): Promise<void>;
}

/** Takes a cache directory for one step, waiting where its sharing mode asks for it. */
export async function leaseCache(home: AegisHome, volume: CacheVolume): Promise<CacheLease> {
  const name = createHash("sha256").update(volume.id).digest("hex").slice(0, 24);
  const root = path.join(home.cache, "mounts");
  for (let copy = 0; ; copy++) {
    const directory = path.join(root, copy === 0 ? name : `${name}-${copy}`);
    const lock = await lockFor(`${directory}.lock`, volume.sharing);
    if (!lock) continue;
    await create(directory, volume);
    return { directory, release: async () => lock.release() };
  }
}

async function lockFor(file: string, sharing: CacheVolume["sharing"]): Promise<HeldLock | undefined> {
  if (sharing === "private") return await tryLock(file);
  return await acquireLock(file, { shared: sharing === "shared" });
}

async function create(directory: string, volume: CacheVolume): Promise<void> {
  await mkdir(path.dirname(directory), { recursive: true, mode: 0o700 });
  try {
    await mkdir(directory);
  } catch (error) {
    if (hasErrno(error, "EEXIST")) return;
    throw error;
  }
  await chown(directory, volume.uid, volume.gid);
  await chmod(directory, volume.mode);
}

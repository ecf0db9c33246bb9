/**
 * Directories of `RUN --mount=type=cache`, kept between builds under `$AEGIS_HOME/cache/mounts`. `shared` ones are given to
 * any number of steps at once, `locked` ones to one at a time, and a `private` one that is in use makes another.
 */
import { createHash, randomBytes } from "node:crypto";
import { access, chmod, chown, mkdir } from "node:fs/promises";
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
  const name = cacheName(volume.id);
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

/** A cache's name on disk. */
export const cacheName = (id: string): string => createHash("sha256").update(id).digest("hex").slice(0, 24);

export interface CacheDiskLease {
  /** ext4 image; caches are directories below `/volumes`. */
  readonly disk: string;
  release(): void;
}

/** Sparse; a cache that outgrows it is a step's failure, as with any full disk. */
const cacheDiskSize = 256 * 2 ** 30;

/**
 * Takes the disk that holds the caches of machines. One machine at a time has it: two guests can't write one filesystem, so
 * here every cache is as if `sharing=locked`.
 */
export async function leaseCacheDisk(home: AegisHome): Promise<CacheDiskLease> {
  const disk = path.join(home.cache, "mounts", "machines.ext4");
  const lock = await acquireLock(`${disk}.lock`);
  try {
    await access(disk).catch(async () => {
      const { createWritableDisk } = await import("../../rootfs/writable.js");
      await createWritableDisk(disk, { sizeBytes: cacheDiskSize, uuid: randomBytes(16) });
    });
  } catch (error) {
    lock.release();
    throw error;
  }
  return { disk, release: () => lock.release() };
}

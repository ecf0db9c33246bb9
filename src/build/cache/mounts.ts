/**
 * Caches of `RUN --mount=type=cache`, kept between builds under `$AEGIS_HOME/cache/mounts`. `shared` ones are given to any
 * number of steps at once, `locked` ones to one at a time, and a `private` one that is in use makes another. Containers have
 * them as directories; machines have ext4 images that hold many, because two guests can't write one filesystem.
 */
import { createHash, randomBytes } from "node:crypto";
import { access, chmod, chown, mkdir } from "node:fs/promises";
import path from "node:path";
import { hasErrno } from "../../support/errors.js";
import { readIfThere, replaceFile } from "../../support/files.js";
import type { AegisHome } from "../../support/home.js";
import { acquireLock, type HeldLock, tryLock } from "../../support/locks.js";
import type { CacheVolume } from "../executors/types.js";

export interface CacheLease {
  /** A cache's name, by its id: that of a directory here or on the disk. */
  nameOf(volume: CacheVolume): string;
  release(): void;
}

const rootOf = (home: AegisHome): string => path.join(home.cache, "mounts");

/** Host directory of a leased cache; made, with its owner and mode, when it is not there. */
export async function cacheDirectory(home: AegisHome, name: string, volume: CacheVolume): Promise<string> {
  const directory = path.join(rootOf(home), name);
  try {
    await mkdir(directory);
  } catch (error) {
    if (hasErrno(error, "EEXIST")) return directory;
    throw error;
  }
  await chown(directory, volume.uid, volume.gid);
  await chmod(directory, volume.mode);
  return directory;
}

/**
 * Takes all caches of one step, waiting where a sharing mode asks for it. They are taken in one order everywhere, so that two
 * steps never wait for each other.
 */
export async function leaseCaches(home: AegisHome, volumes: readonly CacheVolume[]): Promise<CacheLease> {
  await mkdir(rootOf(home), { recursive: true, mode: 0o700 });
  const names = new Map<string, string>();
  const locks: HeldLock[] = [];
  const release = () => {
    for (const lock of locks) lock.release();
  };
  try {
    for (const id of [...new Set(volumes.map((it) => it.id))].sort()) {
      const sharing = strictest(volumes.filter((it) => it.id === id));
      const { name, lock } = await leaseOne(home, createHash("sha256").update(id).digest("hex").slice(0, 24), sharing);
      names.set(id, name);
      locks.push(lock);
    }
  } catch (error) {
    release();
    throw error;
  }
  return { nameOf: ({ id }) => names.get(id)!, release };
}

/** A step may mount one cache twice; it has it once. */
const strictest = (volumes: readonly CacheVolume[]): CacheVolume["sharing"] =>
  (["locked", "private", "shared"] as const).find((mode) => volumes.some((it) => it.sharing === mode))!;

async function leaseOne(home: AegisHome, base: string, sharing: CacheVolume["sharing"]) {
  for (let copy = 0; ; copy++) {
    const name = copy === 0 ? base : `${base}-${copy}`;
    const file = path.join(rootOf(home), `${name}.lock`);
    const lock =
      sharing === "private" ? await tryLock(file) : await acquireLock(file, { shared: sharing === "shared" });
    if (lock) return { name, lock };
  }
}

export interface CacheDiskLease {
  /** ext4 image; caches are directories below `/volumes`. */
  readonly disk: string;
  release(): void;
}

/** Sparse; a cache that outgrows it is a step's failure, as with any full disk. */
const cacheDiskSize = 256 * 2 ** 30;

/**
 * Takes a disk with caches for one machine: of those that no other machine has, the one that held most of `names` last time,
 * else a new one. So machines that run side by side never wait for a disk, and each finds what it left.
 */
export async function leaseCacheDisk(home: AegisHome, names: readonly string[]): Promise<CacheDiskLease> {
  const fileOf = (i: number) => path.join(rootOf(home), i === 0 ? "machines.ext4" : `machines-${i}.ext4`);
  const disks: { readonly disk: string; readonly held: number }[] = [];
  for (let i = 0; await exists(fileOf(i)); i++) {
    const known = (await readIfThere(`${fileOf(i)}.names`))?.split("\n") ?? [];
    disks.push({ disk: fileOf(i), held: names.filter((name) => known.includes(name)).length });
  }
  for (const { disk } of disks.sort((a, b) => b.held - a.held)) {
    const lock = await tryLock(`${disk}.lock`);
    if (lock) return await opened(disk, lock, names);
  }
  for (let i = disks.length; ; i++) {
    const lock = await tryLock(`${fileOf(i)}.lock`);
    if (lock) return await opened(fileOf(i), lock, names);
  }
}

const exists = async (file: string): Promise<boolean> =>
  await access(file).then(
    () => true,
    (error) => {
      if (hasErrno(error, "ENOENT")) return false;
      throw error;
    },
  );

async function opened(disk: string, lock: HeldLock, names: readonly string[]): Promise<CacheDiskLease> {
  try {
    if (!(await exists(disk))) {
      const { createWritableDisk } = await import("../../rootfs/writable.js");
      await createWritableDisk(disk, { sizeBytes: cacheDiskSize, uuid: randomBytes(16) });
    }
    const known = (await readIfThere(`${disk}.names`))?.split("\n") ?? [];
    const all = [...new Set([...known, ...names])];
    if (all.length > known.length) await replaceFile(`${disk}.names`, all.join("\n"));
  } catch (error) {
    lock.release();
    throw error;
  }
  return { disk, release: () => lock.release() };
}

/** Empties the build cache. */
import { lstat, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { hasErrno } from "../../support/errors.js";
import type { AegisHome } from "../../support/home.js";
import { tryLock } from "../../support/locks.js";

/**
 * Forgets every step, fact, download, checkout and cache mount. What a running build has locked stays.
 * @returns bytes that were freed, layers not counted: they belong to the image store
 */
export async function pruneBuildCache(home: AegisHome): Promise<number> {
  let freed = 0;
  for (const kind of ["steps", "facts", "context", "http"]) freed += await removeTree(path.join(home.cache, kind));
  await rm(path.join(home.locks, "steps"), { recursive: true, force: true });
  for (const kind of ["mounts", "git"]) freed += await pruneUnlocked(path.join(home.cache, kind));
  return freed;
}

/** Removes what no running build holds. */
async function pruneUnlocked(directory: string): Promise<number> {
  let freed = 0;
  for (const name of await namesIn(directory)) {
    if (name.endsWith(".lock")) continue;
    // The list of what a disk holds goes when the disk does.
    const lock = await tryLock(path.join(directory, `${name.replace(/\.names$/, "")}.lock`));
    if (!lock) continue;
    freed += await removeTree(path.join(directory, name));
    lock.release();
  }
  return freed;
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return await readdir(directory).catch((error: unknown) => {
    if (hasErrno(error, "ENOENT")) return [];
    throw error;
  });
}

async function removeTree(top: string): Promise<number> {
  const size = await sizeOf(top);
  await rm(top, { recursive: true, force: true });
  return size;
}

/** Bytes that the disk gives back. */
async function sizeOf(top: string): Promise<number> {
  try {
    const stat = await lstat(top);
    let size = stat.blocks * 512;
    if (stat.isDirectory()) for (const name of await namesIn(top)) size += await sizeOf(path.join(top, name));
    return size;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return 0;
    throw error;
  }
}

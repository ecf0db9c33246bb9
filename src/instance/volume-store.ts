/** Named volumes as `aegis volume` manages them. */
import { lstat, mkdir, readdir, rename, rm } from "node:fs/promises";
import { AegisError, hasErrno } from "../support/errors.js";
import { temporaryPath } from "../support/files.js";
import type { AegisHome } from "../support/home.js";
import { listInstances, withNames } from "./store.js";
import { checkVolumeName, lockVolume, volumeFiles } from "./volumes.js";

export interface Volume {
  readonly name: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly directory: string;
  /** Bytes that are allocated; none before its first use. */
  readonly size: number;
  /** Bytes that fit; undefined before its first use. */
  readonly capacity: number | undefined;
  /** Names of instances that mount it, running or not. */
  readonly usedBy: readonly string[];
}

/** By name. */
export async function listVolumes(home: AegisHome): Promise<readonly Volume[]> {
  const names = (await readdir(home.volumes)).filter((name) => !name.startsWith(".")).sort();
  const users = await usersOf(home);
  const found = await Promise.all(names.map((name) => readVolume(home, name, users)));
  return found.filter((volume) => volume !== undefined);
}

/** @throws AegisError VOLUME_UNKNOWN */
export async function findVolume(home: AegisHome, name: string): Promise<Volume> {
  const volume = await readVolume(home, checkVolumeName(name), await usersOf(home));
  if (volume) return volume;
  throw new AegisError("VOLUME_UNKNOWN", `there is no volume ${name}`, { hint: "see `aegis volume ls`" });
}

/** Its disk is made when an instance first mounts it. False when there is one of that name. @throws AegisError BAD_VOLUME */
export async function createVolume(home: AegisHome, name: string): Promise<boolean> {
  try {
    await mkdir(volumeFiles(home, checkVolumeName(name)).directory, { mode: 0o700 });
    return true;
  } catch (error) {
    if (hasErrno(error, "EEXIST")) return false;
    throw error;
  }
}

/** @throws AegisError VOLUME_UNKNOWN, VOLUME_BUSY */
export async function removeVolume(home: AegisHome, name: string): Promise<void> {
  await withNames(home, async () => {
    const { usedBy } = await findVolume(home, name);
    if (usedBy.length > 0) {
      throw new AegisError("VOLUME_BUSY", `volume ${name} belongs to ${usedBy.join(", ")}`, {
        hint: `remove what uses it first: aegis rm ${usedBy.join(" ")}`,
      });
    }
    await using _use = await lockVolume(home, name);
    const doomed = temporaryPath(home.volumes, name);
    await rename(volumeFiles(home, name).directory, doomed);
    await rm(doomed, { recursive: true, force: true });
  });
}

/** Removes every volume that no instance mounts; gives those that are gone. */
export async function pruneVolumes(home: AegisHome): Promise<readonly Volume[]> {
  const removed: Volume[] = [];
  for (const volume of await listVolumes(home)) {
    if (volume.usedBy.length > 0) continue;
    try {
      await removeVolume(home, volume.name);
      removed.push(volume);
    } catch (error) {
      // Somebody has begun to use it, or removed it, since.
      if (!(error instanceof AegisError) || !/^VOLUME_(BUSY|UNKNOWN)$/.test(error.code)) throw error;
    }
  }
  return removed;
}

async function readVolume(
  home: AegisHome,
  name: string,
  users: ReadonlyMap<string, readonly string[]>,
): Promise<Volume | undefined> {
  const { directory, disk } = volumeFiles(home, name);
  const found = await statOf(directory);
  if (!found?.isDirectory()) return undefined;
  const content = await statOf(disk);
  return {
    name,
    createdAt: found.birthtime.toISOString(),
    directory,
    size: (content?.blocks ?? 0) * 512,
    capacity: content?.size,
    usedBy: users.get(name) ?? [],
  };
}

async function usersOf(home: AegisHome): Promise<ReadonlyMap<string, readonly string[]>> {
  const users = new Map<string, string[]>();
  for (const { config } of await listInstances(home)) {
    for (const volume of config.volumes) {
      if (volume.kind === "volume") users.set(volume.name, [...(users.get(volume.name) ?? []), config.name]);
    }
  }
  return users;
}

async function statOf(file: string) {
  return await lstat(file).catch((error) => {
    if (hasErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  });
}

/**
 * Single files of the host in a guest. What is shared is always a directory, so each file gets a name of its own, a hard link,
 * in a private one: nothing beside it is shared. What either side writes is in the file for both; a file that the host replaces
 * by another shows after the next start, as with any bind mount.
 */
import { constants, copyFile, link, mkdir, realpath, rm, stat } from "node:fs/promises";
import path from "node:path";
import { AegisError, hasErrno } from "../../support/errors.js";
import type { VolumeMount } from "../types.js";

export interface SharedFile {
  readonly directory: string;
  readonly name: string;
}

export interface SharedFiles extends AsyncDisposable {
  /** By path in the guest. */
  readonly byTarget: ReadonlyMap<string, SharedFile>;
}

/**
 * Gives the files among `volumes` their names below `directory`, until it is disposed of.
 * @throws AegisError BIND_FILE when a file can't have a second name
 */
export async function shareFiles(directory: string, volumes: readonly VolumeMount[]): Promise<SharedFiles> {
  const remove = () => rm(directory, { recursive: true, force: true });
  const byTarget = new Map<string, SharedFile>();
  // What a killed supervisor left.
  await remove();
  try {
    for (const volume of volumes) {
      if (volume.kind !== "bind" || (await stat(volume.hostPath)).isDirectory()) continue;
      const shared = { directory: path.join(directory, volume.readOnly ? "ro" : "rw"), name: String(byTarget.size) };
      await mkdir(shared.directory, { recursive: true, mode: 0o700 });
      await giveName(volume.hostPath, path.join(shared.directory, shared.name), volume.readOnly);
      byTarget.set(volume.target, shared);
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return { byTarget, [Symbol.asyncDispose]: remove };
}

async function giveName(file: string, name: string, readOnly: boolean): Promise<void> {
  const source = await realpath(file);
  try {
    await link(source, name);
  } catch (error) {
    // Another filesystem, or somebody else's file (proc(5), protected_hardlinks).
    if (!hasErrno(error, "EXDEV", "EPERM")) throw error;
    if (readOnly) return await copyFile(source, name, constants.COPYFILE_FICLONE);
    const why = hasErrno(error, "EXDEV") ? "is on another filesystem than AEGIS_HOME" : "belongs to somebody else";
    throw new AegisError("BIND_FILE", `${file} can't be shared for writing: it ${why}`, {
      hint: "share its directory, or the file read-only, as it is at the start: add :ro",
      cause: error,
    });
  }
}

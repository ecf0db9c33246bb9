/** Writes that are never half visible: temporary file, fsync, rename, fsync of the directory. */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { AegisError, hasErrno } from "./errors.js";

export interface ReplaceOptions {
  readonly mode?: number;
  readonly tmpDir?: string;
  /** False where whoever reads it notices, and does without, when a power cut took the content or the file. */
  readonly durable?: boolean;
}

/** Replaces `target` with what `fill` writes; on failure nothing is left and the old content stays. */
export async function replaceFile(
  target: string,
  fill: string | Uint8Array | ((file: FileHandle) => Promise<void>),
  options: ReplaceOptions = {},
): Promise<void> {
  const { durable = true } = options;
  const temporary = temporaryPath(options.tmpDir ?? path.dirname(target), path.basename(target));
  try {
    const file = await open(temporary, "wx", options.mode ?? 0o600);
    try {
      if (typeof fill === "function") await fill(file);
      else await file.writeFile(fill);
      if (durable) await file.sync();
    } finally {
      await file.close();
    }
    await (durable ? publish(temporary, target) : rename(temporary, target));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Does what writes to a place that the user named. @throws AegisError OUTPUT_UNWRITABLE */
export async function writingTo<T>(target: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    const { path: failed } = error as NodeJS.ErrnoException;
    const named = path.resolve(target);
    const there = failed !== undefined && (failed.startsWith(path.dirname(named)) || named.startsWith(failed));
    const why = there && reasons.find(([code]) => hasErrno(error, code))?.[1];
    if (!why) throw error;
    throw new AegisError("OUTPUT_UNWRITABLE", `${target} can't be written: ${why}`, {
      hint: "name a place in a directory that exists and that you may write to",
      cause: error,
    });
  }
}

const reasons = [
  ["ENOENT", "its directory does not exist"],
  ["ENOTDIR", "what should be its directory is a file"],
  ["EISDIR", "a directory is there"],
  ["EEXIST", "a file is there"],
  ["EACCES", "permission denied"],
  ["EPERM", "permission denied"],
  ["EROFS", "the filesystem is read-only"],
  ["ENAMETOOLONG", "the name is too long"],
] as const;

/** Renames a finished, synced file or directory into place and makes the rename durable. */
export async function publish(temporary: string, target: string): Promise<void> {
  await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
  await rename(temporary, target);
  await syncDirectory(path.dirname(target));
}

/** A fresh name for a temporary file; the pid in it lets a later run sweep what a killed one left. */
export function temporaryPath(directory: string, name: string): string {
  return path.join(directory, `.tmp-${process.pid}-${randomBytes(6).toString("hex")}-${name.slice(0, 64)}`);
}

/** Removes temporary files in `directory` whose process is gone. */
export async function sweepTemporary(directory: string): Promise<void> {
  let names: readonly string[] = [];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (!hasErrno(error, "ENOENT")) throw error;
  }
  for (const name of names) {
    const pid = Number(/^\.tmp-(\d+)-/.exec(name)?.[1]);
    if (pid > 0 && !isRunning(pid)) await rm(path.join(directory, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasErrno(error, "EPERM");
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The text of a file, or undefined where there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** A file, or as much of it as `most` bytes: what is to be read may have no end. */
export async function readBeginning(file: string, most: number): Promise<Buffer> {
  const handle = await open(file, "r");
  try {
    const chunks: Buffer[] = [];
    for (let left = most; left > 0; ) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(left, 1 << 16)));
      if (bytesRead === 0) break;
      chunks.push(buffer.subarray(0, bytesRead));
      left -= bytesRead;
    }
    return Buffer.concat(chunks);
  } finally {
    await handle.close();
  }
}

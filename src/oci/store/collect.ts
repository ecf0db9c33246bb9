/** Garbage collection: removes blobs that no entry of the layout and no lease leads to. */
import { readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { Digest } from "../../support/brands.js";
import { hasErrno } from "../../support/errors.js";
import { sweepTemporary } from "../../support/files.js";
import type { LeaseBook } from "../../support/leases.js";
import { tryLock } from "../../support/locks.js";
import { isDigest } from "../digests.js";
import { maxDocumentSize } from "../documents.js";
import { blobPath } from "./blobs.js";
import { reachable } from "./images.js";
import { readLayout } from "./layout.js";

/** Digests that something outside of the store needs; asked while no lease can grow. */
export type Keep = () => Promise<Iterable<Digest>>;

export interface CollectOptions {
  /** Only tell what would be removed. */
  readonly dryRun?: boolean | undefined;
  readonly keep?: Keep | undefined;
}

export interface Collected {
  readonly digests: readonly Digest[];
  readonly bytes: number;
}

/** Marks and sweeps while no lease can grow. Temporary files of processes that are gone are swept too. */
export async function collectGarbage(root: string, leases: LeaseBook, options: CollectOptions): Promise<Collected> {
  return await leases.sweep(async (held) => {
    const live = new Set<Digest>();
    for (const { target } of await readLayout(root)) {
      for (const digest of await reachable(root, target.digest, target.mediaType)) live.add(digest);
    }
    for (const key of [...held, ...((await options.keep?.()) ?? [])]) {
      if (!isDigest(key) || live.has(key)) continue;
      for (const digest of await leadsTo(root, key)) live.add(digest);
    }
    const digests: Digest[] = [];
    let bytes = 0;
    for (const hex of await readdir(path.join(root, "blobs", "sha256"))) {
      const digest = `sha256:${hex}`;
      if (!isDigest(digest) || live.has(digest)) continue;
      digests.push(digest);
      bytes += (await stat(blobPath(root, digest))).size;
      if (!options.dryRun) await rm(blobPath(root, digest), { force: true });
    }
    if (!options.dryRun) {
      await sweepTemporary(path.join(root, ".tmp"));
      await sweepPartial(path.join(root, ".partial"));
    }
    return { digests, bytes };
  });
}

/** A held digest may be a manifest (then its parts are needed as well) or any other blob. */
async function leadsTo(root: string, digest: Digest): Promise<ReadonlySet<Digest>> {
  try {
    if ((await stat(blobPath(root, digest))).size > maxDocumentSize) return new Set([digest]);
    return await reachable(root, digest);
  } catch {
    // Not a document, or not here: nothing hangs on it.
    return new Set([digest]);
  }
}

/** Downloads that were cut are worth keeping for a while, so that the next try goes on with them. */
const partialAge = 24 * 3600 * 1000;

async function sweepPartial(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error) => {
    if (hasErrno(error, "ENOENT")) return [];
    throw error;
  });
  for (const name of new Set(names.map((it) => it.replace(/\.lock$/, "")))) {
    const file = path.join(directory, name);
    const lock = await tryLock(`${file}.lock`);
    if (!lock) continue;
    // A download that was killed just after the end leaves its lock alone.
    const found = await stat(file).catch(() => stat(`${file}.lock`).catch(() => undefined));
    if (found && Date.now() - found.mtimeMs > partialAge) {
      await rm(file, { force: true });
      await rm(`${file}.lock`, { force: true });
    }
    lock.release();
  }
}

/** Bytes of all blobs, and how many there are. */
export async function measureStore(root: string): Promise<{ readonly blobs: number; readonly bytes: number }> {
  const directory = path.join(root, "blobs", "sha256");
  let bytes = 0;
  let blobs = 0;
  for (const name of await readdir(directory)) {
    bytes += (await stat(path.join(directory, name)).catch(() => undefined))?.size ?? 0;
    blobs++;
  }
  return { blobs, bytes };
}

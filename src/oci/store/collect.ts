/** Garbage collection: removes blobs that no entry of the layout and no lease leads to. */
import { readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { Digest } from "../../support/brands.js";
import { sweepTemporary } from "../../support/files.js";
import type { LeaseBook } from "../../support/leases.js";
import { isDigest } from "../digests.js";
import { maxDocumentSize } from "../documents.js";
import { blobPath } from "./blobs.js";
import { reachable } from "./images.js";
import { readLayout } from "./layout.js";

export interface CollectOptions {
  /** Only tell what would be removed. */
  readonly dryRun?: boolean;
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
    for (const key of held) {
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
    if (!options.dryRun) await sweepTemporary(path.join(root, ".tmp"));
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

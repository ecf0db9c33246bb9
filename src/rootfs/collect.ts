/** Collection of image disks: what no image, no instance and no running process needs is made again when it is wanted. */
import { readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { ImageStore } from "../oci/store.js";
import { hasErrno } from "../support/errors.js";
import { sweepTemporary } from "../support/files.js";
import type { AegisHome } from "../support/home.js";
import { chainsOf, diskKey, disksInUse } from "./chains.js";

export interface CollectDisksOptions {
  /** Only tell what would be removed. */
  readonly dryRun?: boolean | undefined;
  /** Paths of disks that something else needs; asked while no lease can grow. */
  readonly keep: () => Promise<Iterable<string>>;
}

export interface CollectedDisks {
  /** Names of files in `disks/`. */
  readonly names: readonly string[];
  /** Bytes that were allocated. */
  readonly bytes: number;
}

/** A disk stays when a lease of a living process names it, `keep` does, or an image in the store stands on it. */
export async function collectDisks(
  home: Pick<AegisHome, "disks">,
  store: Pick<ImageStore, "leases" | "list" | "resolve">,
  options: CollectDisksOptions,
): Promise<CollectedDisks> {
  return await store.leases.sweep(async (held) => {
    const kept = new Set([...(await options.keep())].map((file) => path.basename(file)));
    const present = (await readdir(home.disks)).filter((it) => /^[^.].*\.ext4$/.test(it));
    for (const name of await namesInUse(home, store, new Set(present))) kept.add(name);
    const names: string[] = [];
    let bytes = 0;
    for (const name of present) {
      if (kept.has(name) || held.has(diskKey(name))) continue;
      names.push(name);
      bytes += await allocated(path.join(home.disks, name));
      if (!options.dryRun) await rm(path.join(home.disks, name), { force: true });
    }
    if (!options.dryRun) await sweepTemporary(home.disks);
    return { names, bytes };
  });
}

/** Names of the disks that images in the store stand on. */
async function namesInUse(
  home: Pick<AegisHome, "disks">,
  store: Pick<ImageStore, "list" | "resolve">,
  present: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  for (const { platforms } of await store.list()) {
    for (const { digest } of platforms) {
      const image = await store.resolve(digest, { pin: false });
      if (!image) continue;
      for (const { path: file } of disksInUse(home, chainsOf(image.config), (disk) =>
        present.has(path.basename(disk.path)),
      )) {
        names.add(path.basename(file));
      }
    }
  }
  return names;
}

async function allocated(file: string): Promise<number> {
  try {
    return (await stat(file)).blocks * 512;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return 0;
    throw error;
  }
}

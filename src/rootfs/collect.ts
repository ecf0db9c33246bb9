/** Collection of image disks: what no image, no instance and no running process needs is made again when it is wanted. */
import { readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import { chainIds, hexOf } from "../oci/digests.js";
import type { ImageStore } from "../oci/store.js";
import type { DiffId } from "../support/brands.js";
import { hasErrno } from "../support/errors.js";
import { sweepTemporary } from "../support/files.js";
import type { AegisHome } from "../support/home.js";
import { diskKey } from "./chains.js";

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

/** A disk stays when a lease of a living process names it, `keep` does, or an image in the store can stand on it. */
export async function collectDisks(
  home: Pick<AegisHome, "disks">,
  store: Pick<ImageStore, "leases" | "list" | "resolve">,
  options: CollectDisksOptions,
): Promise<CollectedDisks> {
  return await store.leases.sweep(async (held) => {
    const kept = new Set([...(await options.keep())].map((file) => path.basename(file)));
    const stacks = await stacksOf(store);
    const names: string[] = [];
    let bytes = 0;
    for (const name of (await readdir(home.disks)).filter((it) => /^[^.].*\.ext4$/.test(it))) {
      if (kept.has(name) || held.has(diskKey(name)) || serves(name, stacks)) continue;
      names.push(name);
      bytes += await allocated(path.join(home.disks, name));
      if (!options.dryRun) await rm(path.join(home.disks, name), { force: true });
    }
    if (!options.dryRun) await sweepTemporary(home.disks);
    return { names, bytes };
  });
}

interface Stacks {
  /** Hex of the chain ids of whole images. */
  readonly whole: ReadonlySet<string>;
  /** Of whole images and of everything that they are built on. */
  readonly any: ReadonlySet<string>;
}

/** A base serves every image that begins with its layers, a delta only the image that it completes. */
function serves(name: string, { whole, any }: Stacks): boolean {
  const chain = /-([0-9a-f]{64})\.ext4$/.exec(name)?.[1];
  return chain !== undefined && (name.startsWith("base-") ? any : whole).has(chain);
}

async function stacksOf(store: Pick<ImageStore, "list" | "resolve">): Promise<Stacks> {
  const whole = new Set<string>();
  const any = new Set<string>();
  for (const { platforms } of await store.list()) {
    for (const { digest } of platforms) {
      const image = await store.resolve(digest, { pin: false });
      const chain = chainIds((image?.config.rootfs.diff_ids ?? []) as readonly DiffId[]).map((it) => hexOf(it));
      for (const hex of chain) any.add(hex);
      if (chain.length > 0) whole.add(chain.at(-1)!);
    }
  }
  return { whole, any };
}

async function allocated(file: string): Promise<number> {
  try {
    return (await stat(file)).blocks * 512;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return 0;
    throw error;
  }
}

/** What the home takes on disk, by kind, and how much of it nothing needs. */
import { lstat, readdir } from "node:fs/promises";
import path from "node:path";
import { cachedLayers } from "../build/cache/steps.js";
import { disksOfInstances, listInstances } from "../instance/store.js";
import { isActive } from "../instance/types.js";
import { familiarName } from "../oci/references.js";
import { reachable } from "../oci/store/images.js";
import type { ImageStore } from "../oci/store.js";
import { collectDisks } from "../rootfs/collect.js";
import type { Digest } from "../support/brands.js";
import { hasErrno } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { instanceDigests, shortId, withStore } from "./images.js";

export interface KindUsage {
  readonly type: "Images" | "Image disks" | "Instances" | "Build cache" | "Volumes";
  readonly total: number;
  readonly active: number;
  /** Bytes that are allocated. */
  readonly size: number;
  readonly reclaimable: number;
}

export interface ImageUsage {
  readonly name: string;
  readonly size: number;
  /** Bytes of blobs that other images have as well. */
  readonly shared: number;
}

export interface HomeUsage {
  readonly kinds: readonly KindUsage[];
  readonly images: readonly ImageUsage[];
}

/** Everything in the home. What is reclaimable is what `prune -a` would free, and instances that are down. */
export async function measureHome(home: AegisHome): Promise<HomeUsage> {
  const instances = await listInstances(home);
  const running = instances.filter(({ state }) => isActive(state.status));
  const { blobs, images, idle } = await withStore(home, async (store) => {
    const measured = await measureBlobs(home, store);
    const used = { ...store, list: async () => measured.used };
    const keep = () => disksOfInstances(home);
    return { ...measured, idle: await collectDisks(home, used, { dryRun: true, keep }) };
  });
  const disks = (await readdir(home.disks)).filter((name) => /^[^.].*\.ext4$/.test(name));
  const volumes = await readdir(home.volumes);
  return {
    kinds: [
      blobs.images,
      {
        type: "Image disks",
        total: disks.length,
        active: disks.length - idle.names.length,
        size: await allocated(home.disks),
        reclaimable: idle.bytes,
      },
      {
        type: "Instances",
        total: instances.length,
        active: running.length,
        size: await allocated(home.instances),
        reclaimable: await sum(
          instances
            .filter((instance) => !running.includes(instance))
            .map(({ config }) => allocated(path.join(home.instances, config.id))),
        ),
      },
      { type: "Volumes", total: volumes.length, active: 0, size: await allocated(home.volumes), reclaimable: 0 },
      await buildCache(home, blobs.cached),
    ],
    images,
  };
}

/** Directories of the cache that pruning empties. */
const cacheParts = ["steps", "facts", "context", "http", "mounts"];

async function buildCache(home: AegisHome, layers: number): Promise<KindUsage> {
  const steps = await readdir(path.join(home.cache, "steps"), { recursive: true, withFileTypes: true }).catch(() => []);
  const parts = await sum(cacheParts.map((part) => allocated(path.join(home.cache, part))));
  return {
    type: "Build cache",
    total: steps.filter((entry) => entry.isFile() && !entry.name.startsWith(".")).length,
    active: 0,
    size: (await allocated(home.cache)) + layers,
    reclaimable: parts + layers,
  };
}

/** Whose the blobs are: an image's, or else a cached build step's. Those that nothing leads to count as images'. */
async function measureBlobs(home: AegisHome, store: ImageStore) {
  const inUse = new Set(await instanceDigests(home));
  const sizes = new Map<Digest, number>();
  const owners = new Map<Digest, number>();
  const kept = new Set<Digest>();
  const parts = [];
  for (const image of await store.list()) {
    const digests = [...(await reachable(store.root, image.target.digest, image.target.mediaType))];
    for (const digest of digests) {
      if (!sizes.has(digest)) sizes.set(digest, await allocated(store.blobPath(digest)));
      owners.set(digest, (owners.get(digest) ?? 0) + 1);
    }
    const isUsed = inUse.has(image.target.digest) || image.platforms.some((it) => inUse.has(it.digest));
    if (isUsed) for (const digest of digests) kept.add(digest);
    parts.push({ image, digests, isUsed });
  }
  // An instance may outlive its image's name.
  for (const digest of inUse) for (const below of await reachable(store.root, digest)) kept.add(below);
  const onlyCached = new Set((await cachedLayers(home)).filter((digest) => !owners.has(digest) && !kept.has(digest)));
  const cached = await sum([...onlyCached].map((digest) => allocated(store.blobPath(digest))));
  const all = await allocated(path.join(store.root, "blobs"));
  const keptSize = await sum([...kept].map((digest) => allocated(store.blobPath(digest))));
  const sizeOf = (digests: readonly Digest[]) => digests.reduce((total, digest) => total + (sizes.get(digest) ?? 0), 0);
  const images = parts.map(({ image, digests }): ImageUsage => {
    const name = image.names.map((it) => familiarName(it)).join(", ") || shortId(image.target.digest);
    return { name, size: sizeOf(digests), shared: sizeOf(digests.filter((digest) => owners.get(digest)! > 1)) };
  });
  const used = parts.filter((part) => part.isUsed).map((part) => part.image);
  const kind: KindUsage = {
    type: "Images",
    total: parts.length,
    active: used.length,
    size: all - cached,
    reclaimable: Math.max(0, all - cached - keptSize),
  };
  return { blobs: { images: kind, cached }, images, used };
}

/** Bytes on disk of a file or of all files below a directory; holes take none. */
async function allocated(target: string): Promise<number> {
  try {
    const found = await lstat(target);
    if (!found.isDirectory()) return found.blocks * 512;
    return await sum((await entriesOf(target)).map((name) => allocated(path.join(target, name))));
  } catch (error) {
    if (hasErrno(error, "ENOENT", "EACCES")) return 0;
    throw error;
  }
}

async function entriesOf(directory: string): Promise<readonly string[]> {
  return await readdir(directory).catch((error) => {
    if (hasErrno(error, "ENOENT")) return [];
    throw error;
  });
}

async function sum(numbers: readonly Promise<number>[]): Promise<number> {
  return (await Promise.all(numbers)).reduce((total, number) => total + number, 0);
}

/** What the home takes on disk, by kind, and how much of it nothing needs. */
import { lstat, readdir } from "node:fs/promises";
import path from "node:path";
import { disksOfInstances, listInstances } from "../instance/store.js";
import { isActive } from "../instance/types.js";
import { familiarName } from "../oci/references.js";
import { reachable } from "../oci/store/images.js";
import type { ImageStore } from "../oci/store.js";
import { collectDisks } from "../rootfs/collect.js";
import type { Digest } from "../support/brands.js";
import { hasErrno } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { neededDigests, shortId, withStore } from "./images.js";

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

export async function measureHome(home: AegisHome): Promise<HomeUsage> {
  const instances = await listInstances(home);
  const running = instances.filter(({ state }) => isActive(state.status));
  const { kind, images, idle } = await withStore(home, async (store) => ({
    ...(await measureImages(home, store)),
    idle: await collectDisks(home, store, { dryRun: true, keep: () => disksOfInstances(home) }),
  }));
  const disks = (await readdir(home.disks)).filter((name) => /^[^.].*\.ext4$/.test(name));
  const volumes = await readdir(home.volumes);
  return {
    kinds: [
      kind,
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
      await buildCache(home),
    ],
    images,
  };
}

async function buildCache(home: AegisHome): Promise<KindUsage> {
  const size = await allocated(home.cache);
  const total = (await entriesOf(home.cache)).length;
  return { type: "Build cache", total, active: 0, size, reclaimable: size };
}

async function measureImages(home: AegisHome, store: ImageStore) {
  const needed = new Set(await neededDigests(home));
  const sizes = new Map<Digest, number>();
  const owners = new Map<Digest, number>();
  const parts = [];
  for (const image of await store.list()) {
    const digests = await reachable(store.root, image.target.digest, image.target.mediaType);
    for (const digest of digests) {
      if (!sizes.has(digest)) sizes.set(digest, await allocated(store.blobPath(digest)));
      owners.set(digest, (owners.get(digest) ?? 0) + 1);
    }
    const isUsed = needed.has(image.target.digest) || image.platforms.some((it) => needed.has(it.digest));
    parts.push({ image, digests, isUsed });
  }
  const kept = new Set([...needed, ...parts.flatMap((part) => (part.isUsed ? [...part.digests] : []))]);
  const size = await allocated(path.join(store.root, "blobs"));
  const keptSize = await sum([...kept].map((digest) => allocated(store.blobPath(digest))));
  const sizeOf = (digests: readonly Digest[]) => digests.reduce((total, digest) => total + (sizes.get(digest) ?? 0), 0);
  const images = parts.map(({ image, digests }): ImageUsage => {
    const name = image.names.map((it) => familiarName(it)).join(", ") || shortId(image.target.digest);
    const shared = [...digests].filter((digest) => owners.get(digest)! > 1);
    return { name, size: sizeOf([...digests]), shared: sizeOf(shared) };
  });
  const active = parts.filter((part) => part.isUsed).length;
  const reclaimable = Math.max(0, size - keptSize);
  return { kind: { type: "Images", total: parts.length, active, size, reclaimable } as const, images };
}

/** Bytes on disk of a file or of everything below a directory; holes take none. */
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

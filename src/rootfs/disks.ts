/**
 * Image disks: layers become ext4 files, once, for every process and every instance. What came together is one base disk;
 * what was added on top goes into a second, so that a rebuild costs what changed and not what the image weighs.
 */
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { createExt4Writer } from "../ext4/index.js";
import type { ImageStore } from "../oci/store.js";
import type { Descriptor, ImageConfig } from "../oci/types.js";
import { replaceFile, sweepTemporary } from "../support/files.js";
import type { AegisHome } from "../support/home.js";
import { withLock } from "../support/locks.js";
import {
  baseDisk,
  chainOf,
  chooseBase,
  deltaDisk,
  diskKey,
  diskUuid,
  exists,
  type LayerStack,
  layerStack,
} from "./chains.js";
import { openDisk } from "./disk-tree.js";
import { syncingEarly } from "./early-sync.js";
import { type StackLayer, type StreamOptions, streamLayers } from "./layer-stream.js";
import { LayerMerger, type LowerTree, NotADelta } from "./merge.js";
import type { ImageDisk, RootDisks } from "./types.js";

type Home = Pick<AegisHome, "disks" | "locks">;

export interface RootImage {
  readonly config: Pick<ImageConfig, "rootfs">;
  /** Bottom first, as in the manifest. */
  readonly layers: readonly Descriptor[];
  /** How many of the layers came together (`FROM`'s image); all unless told, or as far as a base disk already reaches. */
  readonly baseLayers?: number | undefined;
}

/** Where layers come from, and what keeps the disks from being collected until it is closed. */
export type DiskSource = Pick<ImageStore, "openBlob" | "pin">;

/**
 * The disks of an image, assembled when they are not there yet. Concurrent processes share the work; a kill at any instant
 * leaves nothing half-visible. The disks are safe from collection until the store is closed.
 * @throws AegisError IMAGE_INCONSISTENT, LAYER_CORRUPT, and whatever reading layers and writing ext4 throw
 */
export async function ensureRootDisks(
  home: Home,
  store: DiskSource,
  image: RootImage,
  options: StreamOptions = {},
): Promise<RootDisks> {
  const stack = layerStack(image.config, image.layers);
  const length = await chooseBase(home, stack, image.baseLayers);
  const chainId = chainOf(stack);
  const base = await ensureBase(home, store, stack, length, options);
  if (length === stack.layers.length) return { chainId, lowers: [base] };
  try {
    const delta = await ensureDelta(home, store, stack, length, base, options);
    return { chainId, lowers: [base, delta] };
  } catch (error) {
    if (!(error instanceof NotADelta)) throw error;
    return { chainId, lowers: [await ensureBase(home, store, stack, stack.layers.length, options)] };
  }
}

/** The disk of the first `length` layers. */
async function ensureBase(
  home: Home,
  store: DiskSource,
  stack: LayerStack,
  length: number,
  options: StreamOptions,
): Promise<ImageDisk> {
  const disk = baseDisk(home, stack, length);
  await ensureDisk(home, store, disk, (fd) => assemble(fd, store, disk, stack.layers.slice(0, length), options));
  return disk;
}

/** The disk of the other layers, over that one. */
async function ensureDelta(
  home: Home,
  store: DiskSource,
  stack: LayerStack,
  length: number,
  base: ImageDisk,
  options: StreamOptions,
): Promise<ImageDisk> {
  const disk = deltaDisk(home, stack, length);
  await ensureDisk(home, store, disk, async (fd) => {
    using below = openDisk(base.path);
    await assemble(fd, store, disk, stack.layers.slice(length), options, below.lower);
  });
  return disk;
}

async function assemble(
  fd: number,
  store: DiskSource,
  disk: ImageDisk,
  layers: readonly StackLayer[],
  options: StreamOptions,
  lower?: LowerTree,
): Promise<void> {
  await using writer = createExt4Writer({ fd }, { uuid: diskUuid(disk) });
  await using target = syncingEarly(writer, fd);
  const merger = new LayerMerger(target, lower);
  const conclude = async () => {
    merger.finish();
    target.complete();
    await writer.finish();
  };
  await streamLayers(store, layers, merger, conclude, options);
  await target.settle();
}

/** Runs `fill` for a disk that is missing, in one process at a time. */
async function ensureDisk(
  home: Home,
  store: DiskSource,
  disk: ImageDisk,
  fill: (fd: number) => Promise<void>,
): Promise<void> {
  // Before the first look, so that a collection can't come in between.
  await store.pin(diskKey(path.basename(disk.path)));
  if (await exists(disk.path)) return;
  await withLock(path.join(home.locks, `disk-${path.basename(disk.path, ".ext4")}`), async () => {
    if (await exists(disk.path)) return;
    await sweep(home.disks, path.basename(disk.path));
    await replaceFile(disk.path, (file) => fill(file.fd), { mode: 0o400 });
  });
}

/** Removes half-written disks: all of this name, whose lock we hold, and those of processes that are gone. */
async function sweep(directory: string, name: string): Promise<void> {
  // Temporary names end in the first 64 characters of the name, which tell disks apart.
  const tail = `-${name.slice(0, 64)}`;
  for (const found of await readdir(directory)) {
    if (found.startsWith(".tmp-") && found.endsWith(tail)) await rm(path.join(directory, found), { force: true });
  }
  await sweepTemporary(directory);
}

/** Which disks a stack of layers becomes: what they are called, and where the base ends and the delta begins. */
import { createHash } from "node:crypto";
import { access } from "node:fs/promises";
import path from "node:path";
import { chainIds, digestOf, hexOf } from "../oci/digests.js";
import type { Descriptor, ImageConfig } from "../oci/types.js";
import type { ChainId } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import type { StackLayer } from "./layer-stream.js";
import type { ImageDisk } from "./types.js";

/** A stack of layers, bottom first, with the identity of each prefix. */
export interface LayerStack {
  readonly layers: readonly StackLayer[];
  /** By number of layers; the first is the empty stack's. */
  readonly chain: readonly ChainId[];
}

/** Stands for no layers at all (`FROM scratch`), for which the specification has no chain id. */
const emptyChain = digestOf("") as string as ChainId;

/** Below this a delta is rebuilt faster than anybody notices, however small the base. */
const smallDelta = 64 << 20;

/** @throws AegisError IMAGE_INCONSISTENT when the config names another number of layers */
export function layerStack(config: Pick<ImageConfig, "rootfs">, layers: readonly Descriptor[]): LayerStack {
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== layers.length) {
    throw new AegisError(
      "IMAGE_INCONSISTENT",
      `the image has ${layers.length} layers, but its config names ${diffIds.length}`,
      { hint: "the image is damaged; pull or load it again" },
    );
  }
  const pairs = layers.map((descriptor, i) => ({ descriptor, diffId: diffIds[i]! }));
  return { layers: pairs, ...chainsOf(config) };
}

/** The identities of the prefixes alone. */
export type Chains = Pick<LayerStack, "chain">;

export const chainsOf = (config: Pick<ImageConfig, "rootfs">): Chains => ({
  chain: [emptyChain, ...chainIds(config.rootfs.diff_ids)],
});

export const chainOf = ({ chain }: Chains): ChainId => chain.at(-1)!;

/** The disk that holds the first `length` layers merged. */
export function baseDisk(home: Pick<AegisHome, "disks">, stack: Chains, length: number): ImageDisk {
  const chainId = stack.chain[length]!;
  return { kind: "base", chainId, path: path.join(home.disks, `base-${hexOf(chainId)}.ext4`) };
}

/** The disk that holds what the layers from `length` on change; it depends on where the base ends, so its name says it. */
export function deltaDisk(home: Pick<AegisHome, "disks">, stack: Chains, length: number): ImageDisk {
  const chainId = chainOf(stack);
  const name = `delta-${hexOf(stack.chain[length]!).slice(0, 16)}-${hexOf(chainId)}.ext4`;
  return { kind: "delta", chainId, path: path.join(home.disks, name) };
}

/**
 * How many layers the base takes. A base that exists is best, the longest first; else what the caller says came together;
 * else all. A delta that outgrows its base becomes a base itself, so that what comes on top of it stays cheap.
 */
export async function chooseBase(
  home: Pick<AegisHome, "disks">,
  stack: LayerStack,
  baseLayers: number | undefined,
): Promise<number> {
  const all = stack.layers.length;
  for (let length = all; length > Math.max(baseLayers ?? 0, 0); length--) {
    if (!(await exists(baseDisk(home, stack, length).path))) continue;
    return outgrown(stack, length) ? all : length;
  }
  const length = baseLayers === undefined ? all : Math.min(Math.max(baseLayers, 0), all);
  return length === 0 || outgrown(stack, length) ? all : length;
}

/**
 * Paths of the disks that the image would be booted from if it were asked for now: the longest base among those that `are`
 * there, and what comes on top. Shorter bases and deltas over them are of no use to it any more.
 */
export function disksInUse(
  home: Pick<AegisHome, "disks">,
  stack: Chains,
  are: (disk: ImageDisk) => boolean,
): readonly ImageDisk[] {
  const all = stack.chain.length - 1;
  for (let length = all; length > 0; length--) {
    const base = baseDisk(home, stack, length);
    if (are(base)) return length === all ? [base] : [base, deltaDisk(home, stack, length)];
  }
  return [];
}

/** Sizes of blobs stand for what they hold: nearly all layers of an image are packed alike. */
function outgrown(stack: LayerStack, length: number): boolean {
  const bytes = (layers: readonly StackLayer[]) => layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const delta = bytes(stack.layers.slice(length));
  return delta > smallDelta && delta > bytes(stack.layers.slice(0, length));
}

/** What a lease calls the disk of this file name. */
export const diskKey = (name: string): string => `disk:${name}`;

/** 16 bytes that follow from a disk's name, marked as a UUID of version 8 (RFC 9562). */
export function diskUuid(disk: ImageDisk): Buffer {
  const uuid = createHash("sha256").update(path.basename(disk.path)).digest().subarray(0, 16);
  uuid[6] = (uuid[6]! & 0x0f) | 0x80;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  return uuid;
}

export async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}

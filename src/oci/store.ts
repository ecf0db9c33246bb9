/**
 * The image store: a valid OCI image layout at any instant, shared by any number of processes. Whatever a process writes or
 * looks up is leased until it ends, so that collection in another process never takes it away. Ids that users see are the
 * digest of the manifest or index, as in Docker with the containerd store.
 */
import type { FileHandle } from "node:fs/promises";
import { stat } from "node:fs/promises";
import path from "node:path";
import type { Digest } from "../support/brands.js";
import { AegisError, hasErrno } from "../support/errors.js";
import { type Lease, type LeaseBook, openLeases } from "../support/leases.js";
import { encodeDocument, parseConfig } from "./documents.js";
import { mediaTypes } from "./media-types.js";
import { familiarName, normaliseReference } from "./references.js";
import * as blobs from "./store/blobs.js";
import { type Collected, type CollectOptions, collectGarbage, measureStore } from "./store/collect.js";
import * as images from "./store/images.js";
import { initialiseLayout, type LayoutEntry, readLayout, updateLayout } from "./store/layout.js";
import type { Descriptor, ImageConfig, ImageManifest, Platform, StoredImage } from "./types.js";

export type { BlobWriter } from "./store/blobs.js";

/** An image to be stored: its parts, or a manifest or index whose blobs are in the store already. */
export type NewImage =
  | {
      readonly config: ImageConfig;
      /** Bottom first; in the store already, except foreign ones. */
      readonly layers: readonly Descriptor[];
      readonly annotations?: Readonly<Record<string, string>>;
    }
  | { readonly target: Descriptor };

export interface ImageSummary {
  readonly target: Descriptor;
  readonly names: readonly string[];
  readonly platforms: readonly { readonly digest: Digest; readonly platform: Platform }[];
  readonly created?: string | undefined;
  /** Bytes of all blobs, each counted once. */
  readonly size: number;
}

export interface ResolveOptions {
  readonly platform?: Platform | undefined;
  /** `false` only looks, without a lease: what is found may be collected at any time. */
  readonly pin?: boolean | undefined;
}

export interface ImageStore {
  readonly root: string;
  readonly leases: LeaseBook;
  /** Keeps what goes by these keys, blobs and others' things, from being collected until the store is closed. */
  pin(...keys: readonly string[]): Promise<void>;
  /** True when the blob is here; it is then safe from collection until this process ends. */
  hasBlob(digest: Digest): Promise<boolean>;
  /** Where the blob lies; only for blobs that `hasBlob` confirmed. */
  blobPath(digest: Digest): string;
  openBlob(digest: Digest): Promise<FileHandle>;
  /** A small blob, verified; at most 8 MiB unless told. */
  readBlob(digest: Digest, options?: { readonly maxBytes?: number }): Promise<Buffer>;
  createBlob(options?: { readonly sizeHint?: number }): blobs.BlobWriter;
  writeBlob(
    source: AsyncIterable<Uint8Array> | Uint8Array,
    options: { readonly mediaType: string; readonly expected?: { readonly digest?: Digest; readonly size?: number } },
  ): Promise<Descriptor>;
  /** Stores an image under names (any form); without names it is dangling, and known by its id. */
  putImage(image: NewImage, names: readonly string[]): Promise<StoredImage>;
  /** Enters a manifest or index that is in the store already under names, whatever it holds. */
  putTarget(target: Descriptor, names: readonly string[]): Promise<void>;
  /** By name, digest, or the beginning of an id; undefined when it, or the wanted platform of it, is not here. */
  resolve(text: string, options?: ResolveOptions): Promise<StoredImage | undefined>;
  /** The record itself, which may be an index with other platforms. */
  find(text: string, options?: Pick<ResolveOptions, "pin">): Promise<images.ImageRecord | undefined>;
  list(): Promise<readonly ImageSummary[]>;
  /** @throws AegisError IMAGE_NOT_FOUND */
  tag(source: string, name: string): Promise<void>;
  /** Takes a name away; the image stays until nothing names it. */
  untag(name: string): Promise<{ readonly name: string; readonly target: Descriptor; readonly last: boolean }>;
  /** Takes an image and all of its names away. @throws AegisError IMAGE_NOT_FOUND */
  remove(text: string): Promise<images.ImageRecord>;
  /** Removes every blob that neither an image nor a lease needs. */
  collect(options?: CollectOptions): Promise<Collected>;
  /** What the blobs take, bytes. */
  usage(): Promise<{ readonly blobs: number; readonly bytes: number }>;
  /** Ends this process's lease. */
  close(): Promise<void>;
}

/** Opens (and creates) the store in `root`. @throws AegisError LAYOUT_INVALID */
export async function openImageStore(root: string): Promise<ImageStore> {
  await initialiseLayout(root);
  const leases = openLeases(path.join(root, ".leases"));
  let lease: Promise<Lease> | undefined;
  const pin = async (...keys: readonly string[]) => {
    lease ??= leases.open();
    await (await lease).add(...keys);
  };
  const records = async () => images.recordsOf(await readLayout(root));

  /** Pins a record and looks whether it is still there. */
  async function pinned(
    record: images.ImageRecord | undefined,
    options: Pick<ResolveOptions, "pin"> = {},
  ): Promise<images.ImageRecord | undefined> {
    if (!record) return undefined;
    if (options.pin !== false) await pin(record.target.digest);
    return (await blobs.hasBlob(root, record.target.digest)) ? record : undefined;
  }

  async function find(
    text: string,
    options: Pick<ResolveOptions, "pin"> = {},
  ): Promise<images.ImageRecord | undefined> {
    return await pinned(images.findRecord(await records(), text), options);
  }

  async function needed(text: string): Promise<images.ImageRecord> {
    const record = await find(text);
    if (record) return record;
    throw imageNotFound(text);
  }

  async function resolve(text: string, options: ResolveOptions = {}) {
    const all = await records();
    const record = await pinned(images.findRecord(all, text) ?? (await recordAbove(root, all, text)), options);
    if (!record) return undefined;
    const present = await images.platformImages(root, await images.presentManifests(root, record.target));
    const chosen = present.filter((image) => image.descriptor.digest === text);
    return images.chooseImage(record, chosen.length > 0 ? chosen : present, options.platform);
  }

  async function writeBlob(
    source: AsyncIterable<Uint8Array> | Uint8Array,
    options: { readonly mediaType: string; readonly expected?: { readonly digest?: Digest; readonly size?: number } },
  ): Promise<Descriptor> {
    const writer = blobs.createBlob(root, pin, source instanceof Uint8Array ? source.length : undefined);
    try {
      for await (const chunk of source instanceof Uint8Array ? [source] : source) {
        writer.write(chunk);
        await writer.drain();
      }
      return { mediaType: options.mediaType, ...(await writer.commit(options.expected)) };
    } finally {
      await writer.abort();
    }
  }

  async function writeParts(image: Exclude<NewImage, { readonly target: Descriptor }>): Promise<Descriptor> {
    const config = encodeDocument(image.config, mediaTypes.ociConfig);
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: config.descriptor,
      layers: image.layers,
      ...(image.annotations ? { annotations: image.annotations } : {}),
    };
    parseConfig(config.bytes, manifest);
    const encoded = encodeDocument(manifest, mediaTypes.ociManifest);
    await writeBlob(config.bytes, { mediaType: mediaTypes.ociConfig });
    return await writeBlob(encoded.bytes, { mediaType: mediaTypes.ociManifest });
  }

  async function putTarget(target: Descriptor, names: readonly string[]): Promise<void> {
    const normal = names.map(normaliseReference);
    await updateLayout(root, (entries) => assign(entries, target, normal));
  }

  return {
    root,
    leases,
    pin,
    async hasBlob(digest) {
      await pin(digest);
      return await blobs.hasBlob(root, digest);
    },
    blobPath: (digest) => blobs.blobPath(root, digest),
    openBlob: (digest) => blobs.openBlob(root, digest),
    readBlob: (digest, options = {}) => blobs.readBlob(root, digest, options.maxBytes),
    createBlob: (options = {}) => blobs.createBlob(root, pin, options.sizeHint),
    writeBlob,
    async putImage(image, names) {
      const target = "target" in image ? image.target : await writeParts(image);
      await pin(target.digest);
      await putTarget(target, names);
      const stored = await resolve(target.digest);
      if (stored) return stored;
      throw new AegisError("IMAGE_INCOMPLETE", `the image ${target.digest} lacks a blob or has no platform to run`, {
        hint: "load or pull it again, for a platform it has",
      });
    },
    putTarget,
    resolve,
    find,
    async list() {
      return await Promise.all((await records()).map((record) => summarise(root, record)));
    },
    async tag(source, name) {
      await putTarget((await needed(source)).target, [name]);
    },
    async untag(text) {
      const name = normaliseReference(text);
      let removed: { name: string; target: Descriptor; last: boolean } | undefined;
      await updateLayout(root, (entries) => {
        const entry = entries.find((it) => it.name === name);
        if (!entry) return undefined;
        const rest = entries.filter((it) => it !== entry);
        const last = !rest.some((it) => it.target.digest === entry.target.digest);
        removed = { name, target: entry.target, last };
        return rest;
      });
      if (!removed) throw imageNotFound(text);
      return removed;
    },
    async remove(text) {
      const record = images.findRecord(await records(), text);
      if (!record) throw imageNotFound(text);
      await updateLayout(root, (entries) => entries.filter((it) => it.target.digest !== record.target.digest));
      return record;
    },
    collect: async (options = {}) => await collectGarbage(root, leases, options),
    usage: () => measureStore(root),
    async close() {
      const open = lease;
      lease = undefined;
      if (open) await (await open).release();
    },
  };

  async function summarise(at: string, record: images.ImageRecord): Promise<ImageSummary> {
    const present = await images.platformImages(at, await images.presentManifests(at, record.target));
    const shown = images.chooseImage(record, present, undefined) ?? present[0];
    let size = 0;
    for (const digest of await images.reachable(at, record.target.digest, record.target.mediaType)) {
      size += await sizeOf(blobs.blobPath(at, digest));
    }
    return {
      target: record.target,
      names: record.names,
      platforms: present.map(({ descriptor, config }) => ({ digest: descriptor.digest, platform: platformOf(config) })),
      created: shown?.config.created ?? undefined,
      size,
    };
  }

  /** An index whose platform manifest has the digest `text`. */
  async function recordAbove(at: string, all: readonly images.ImageRecord[], text: string) {
    if (!text.startsWith("sha256:")) return undefined;
    for (const record of all) {
      const below = await images.presentManifests(at, record.target);
      if (below.some((manifest) => manifest.digest === text)) return record;
    }
    return undefined;
  }
}

/** Gives `names` to `target`. What loses its last name stays as a dangling image. */
function assign(entries: readonly LayoutEntry[], target: Descriptor, names: readonly string[]): readonly LayoutEntry[] {
  const taken = entries.filter((entry) => entry.name !== undefined && names.includes(entry.name));
  const rest = entries.filter((entry) => !taken.includes(entry));
  const isNamed = (digest: Digest) => rest.some((entry) => entry.target.digest === digest);
  const dangling = taken.filter((it, i) => {
    const first = taken.findIndex((other) => other.target.digest === it.target.digest) === i;
    return first && it.target.digest !== target.digest && !isNamed(it.target.digest);
  });
  const others = rest.filter((it) => it.target.digest !== target.digest || it.name !== undefined);
  const added: LayoutEntry[] = names.map((name) => ({ target, name }));
  if (names.length === 0 && !others.some((it) => it.target.digest === target.digest)) added.push({ target });
  return [...others, ...dangling.map((it) => ({ target: it.target })), ...added];
}

export const platformOf = ({ architecture, os, variant }: Platform): Platform =>
  variant ? { os, architecture, variant } : { os, architecture };

export function imageNotFound(text: string): AegisError {
  let shown = text;
  try {
    shown = familiarName(text);
  } catch {
    // Not a name, so it is shown as it was written.
  }
  return new AegisError("IMAGE_NOT_FOUND", `there is no image ${shown} in the store`, {
    hint: `see \`aegis images\`, or fetch it: aegis pull ${shown}`,
    details: { reference: text },
  });
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return 0;
    throw error;
  }
}

/**
 * Images of the store as one tar that everybody reads: an OCI layout with docker's manifest.json beside its index, as
 * `docker save` writes it. Equal images give equal bytes.
 */
import { stat } from "node:fs/promises";
import type { Digest } from "../../support/brands.js";
import { encodeText } from "../../support/brands.js";
import { createGzip } from "../compression/gzip.js";
import { createZstd } from "../compression/zstd.js";
import { hexOf } from "../digests.js";
import type { Compression } from "../media-types.js";
import { readChunks } from "../read-chunks.js";
import { familiarName, parseReference } from "../references.js";
import { reachable } from "../store/images.js";
import { encodeLayout, type LayoutEntry } from "../store/layout.js";
import { type ImageStore, imageNotFound } from "../store.js";
import { encodeHeader } from "../tar/encode.js";
import { paddingOf } from "../tar/format.js";
import type { Platform, StoredImage } from "../types.js";

export interface SaveOptions {
  /** Only this platform of an image that has several; without it everything that is in the store. */
  readonly platform?: Platform | undefined;
}

/**
 * The archive of the images that `references` name (by name or id), piece by piece; pieces are valid until the next one.
 * @throws AegisError IMAGE_NOT_FOUND
 */
export async function* saveArchive(
  store: ImageStore,
  references: readonly string[],
  options: SaveOptions = {},
): AsyncGenerator<Uint8Array> {
  const targets: SavedTarget[] = [];
  for (const text of references) {
    const record = await store.find(text);
    const image = await store.resolve(text, options);
    if (!record || (options.platform && !image)) throw imageNotFound(text);
    const name = record.names.find((it) => it === tryNormalise(text));
    targets.push({ target: options.platform && image ? image.target : record.target, name, image });
  }
  yield* archiveOf(store, targets);
}

/** A manifest or index of the store, whether it is entered there or not, and the name it gets in the archive. */
export interface SavedTarget extends LayoutEntry {
  /** The image that docker's own format takes for it, if there is one. */
  readonly image: Pick<StoredImage, "target" | "manifest"> | undefined;
}

/** The archive of these. */
export async function* archiveOf(store: ImageStore, targets: readonly SavedTarget[]): AsyncGenerator<Uint8Array> {
  const { digests, docker } = await plan(store, targets);
  yield* directory("blobs");
  yield* directory("blobs/sha256");
  for (const digest of [...digests].sort()) yield* blob(store, digest);
  const entries = targets.map(({ target, name }) => ({ target, name }));
  yield* text(
    "index.json",
    encodeLayout(entries, (name) => parseReference(name).tag ?? name),
  );
  if (docker.length > 0) yield* text("manifest.json", JSON.stringify(docker));
  yield* text("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  yield Buffer.alloc(1024);
}

interface DockerItem {
  readonly Config: string;
  readonly RepoTags: string[];
  readonly Layers: readonly string[];
}

async function plan(store: ImageStore, targets: readonly SavedTarget[]) {
  const digests = new Set<Digest>();
  const docker = new Map<Digest, DockerItem>();
  for (const { target, name, image } of targets) {
    for (const digest of await reachable(store.root, target.digest, target.mediaType)) {
      if (await store.hasBlob(digest)) digests.add(digest);
    }
    if (!image) continue;
    const blobName = ({ digest }: { readonly digest: Digest }) => `blobs/sha256/${hexOf(digest)}`;
    const item = docker.get(image.target.digest) ?? {
      Config: blobName(image.manifest.config),
      RepoTags: [],
      Layers: image.manifest.layers.map(blobName),
    };
    if (name !== undefined) item.RepoTags.push(familiarName(name));
    docker.set(image.target.digest, item);
  }
  return { digests, docker: [...docker.values()] };
}

function tryNormalise(text: string): string | undefined {
  try {
    const { domain, path, tag } = parseReference(text);
    return `${domain}/${path}:${tag}`;
  } catch {
    return undefined;
  }
}

const header = (path: string, type: "file" | "directory", size: number): Buffer =>
  Buffer.concat(
    encodeHeader({
      path: encodeText(path),
      type,
      mode: type === "file" ? 0o644 : 0o755,
      uid: 0,
      gid: 0,
      mtime: { sec: 0, nsec: 0 },
      size,
    }),
  );

function* directory(path: string): Generator<Uint8Array> {
  yield header(path, "directory", 0);
}

function* text(path: string, content: string): Generator<Uint8Array> {
  const bytes = Buffer.from(content);
  yield Buffer.concat([header(path, "file", bytes.length), bytes, Buffer.alloc(paddingOf(bytes.length))]);
}

async function* blob(store: ImageStore, digest: Digest): AsyncGenerator<Uint8Array> {
  const { size } = await stat(store.blobPath(digest));
  const file = await store.openBlob(digest);
  try {
    yield header(`blobs/sha256/${hexOf(digest)}`, "file", size);
    yield* readChunks(file);
    yield Buffer.alloc(paddingOf(size));
  } finally {
    await file.close();
  }
}

/** A stream, compressed. */
export async function* compressStream(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
): AsyncGenerator<Uint8Array> {
  if (compression === "none") {
    yield* source;
    return;
  }
  let ready: Buffer[] = [];
  const take = (chunk: Uint8Array) => void ready.push(Buffer.from(chunk));
  const compressor = compression === "gzip" ? createGzip(take) : await createZstd(take);
  const flush = () => {
    const chunks = ready;
    ready = [];
    return chunks;
  };
  try {
    for await (const chunk of source) {
      compressor.write(chunk);
      await compressor.drain();
      yield* flush();
    }
    await compressor.end();
    yield* flush();
  } finally {
    await compressor.abort();
  }
}

/**
 * Takes an image archive apart in one pass, whatever the order of its files, so that standard input works too: blobs and
 * layers go to the store as they come, small documents are kept until the end.
 */
import type { Digest } from "../../support/brands.js";
import { decodeText } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { TreeEntry, TreeSink } from "../../support/tree.js";
import { cleanPath } from "../../support/tree-paths.js";
import { sniffCompression } from "../compression/decompress.js";
import type { Compression } from "../media-types.js";
import type { BlobWriter } from "../store/blobs.js";
import type { ImageStore } from "../store.js";
import { knownCompression } from "./source.js";

export interface ReceivedBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly compression: Compression;
}

export interface Received {
  /** A small document by its path, links followed. */
  document(path: string): Buffer | undefined;
  /** A blob by its path, links followed. */
  blob(path: string): ReceivedBlob | undefined;
}

const maxDocument = 8 << 20;
const maxDocuments = 64 << 20;
const maxEntries = 200_000;
const maxPending = 8;

export interface Receiver extends TreeSink {
  finish(): Promise<Received>;
  abort(): Promise<void>;
}

/** A sink for the archive's tar. @throws AegisError ARCHIVE_TOO_LARGE, DIGEST_MISMATCH */
export function createReceiver(store: Pick<ImageStore, "createBlob">): Receiver {
  const documents = new Map<string, Buffer>();
  const blobs = new Map<string, ReceivedBlob>();
  const links = new Map<string, string>();
  const pending = new Set<Promise<void>>();
  let failure: unknown;
  let held = 0;
  let entries = 0;
  let current:
    | { readonly path: string; left: number; head: Buffer; readonly writer?: BlobWriter; chunks: Buffer[] }
    | undefined;

  function begin(entry: TreeEntry, path: string): void {
    const isLayer = /(^|\/)layer\.tar$|\.tar(\.gz|\.zst)?$/.test(path);
    const isBlob = /^blobs\/sha256\/[0-9a-f]{64}$/.test(path);
    const isDocument = !isLayer && !isBlob && entry.size <= maxDocument;
    if (isDocument) held += entry.size;
    if (held > maxDocuments) throw tooLarge("its documents take more than 64 MiB");
    const writer = isLayer || isBlob ? store.createBlob({ sizeHint: entry.size }) : undefined;
    const kept = writer || isDocument ? path : "";
    current = { path: kept, left: entry.size, head: Buffer.alloc(0), chunks: [], ...(writer ? { writer } : {}) };
    if (entry.size === 0) complete();
  }

  function complete(): void {
    const { path, writer, head, chunks } = current!;
    current = undefined;
    if (!writer) {
      if (path !== "") documents.set(path, Buffer.concat(chunks));
      return;
    }
    const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
    const committing = writer
      .commit(hex === undefined ? {} : { digest: `sha256:${hex}` as Digest })
      .then((identity) => {
        const compression = hex === undefined ? knownCompression(sniffCompression(head)) : "none";
        blobs.set(path, { ...identity, compression });
      })
      .catch((error) => {
        failure ??= error;
      })
      .finally(() => pending.delete(committing));
    pending.add(committing);
  }

  function follow<T>(map: ReadonlyMap<string, T>, path: string): T | undefined {
    let at = path;
    for (let hops = 0; hops < 8; hops++) {
      const found = map.get(at);
      const next = links.get(at);
      if (found !== undefined || next === undefined) return found;
      at = next;
    }
    return undefined;
  }

  const settle = async () => {
    await Promise.all(pending);
    if (failure) throw failure;
  };

  return {
    entry(entry) {
      if (++entries > maxEntries) throw tooLarge(`it has more than ${maxEntries} entries`);
      const path = decodeText(entry.path);
      if (entry.type === "file") begin(entry, path);
      if (entry.type === "hardlink") links.set(path, decodeText(entry.linkTarget!));
      if (entry.type === "symlink") links.set(path, resolveLink(path, decodeText(entry.linkTarget!)));
    },
    data(chunk) {
      const file = current!;
      if (file.head.length < 8) file.head = Buffer.concat([file.head, chunk.subarray(0, 8 - file.head.length)]);
      if (file.writer) file.writer.write(chunk);
      else if (file.path !== "") file.chunks.push(Buffer.from(chunk));
      file.left -= chunk.length;
      if (file.left === 0) complete();
    },
    hole(length) {
      for (let left = length; left > 0; ) {
        const zeros = Buffer.alloc(Math.min(left, 1 << 20));
        left -= zeros.length;
        this.data(zeros);
      }
    },
    drain() {
      if (failure || pending.size > maxPending) return settle();
      return current?.writer?.drain();
    },
    async finish() {
      await settle();
      return { document: (path) => follow(documents, path), blob: (path) => follow(blobs, path) };
    },
    async abort() {
      await current?.writer?.abort();
      await Promise.all(pending);
    },
  };
}

/** Links of archives are relative to their own directory, with a slash before them too. */
const resolveLink = (from: string, target: string): string => cleanPath(`${from}/../${target}`);

const tooLarge = (why: string): AegisError =>
  new AegisError("ARCHIVE_TOO_LARGE", `this is no image archive: ${why}`, {
    hint: "a root filesystem's tarball is taken in with `aegis import`",
  });

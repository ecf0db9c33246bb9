/**
 * Content by digest on disk: `blobs/sha256/<hex>` of an OCI image layout. A blob appears whole, synced and verified, or not
 * at all; any number of processes may write the same one.
 */
import { createHash } from "node:crypto";
import { access, type FileHandle, mkdir, open, rm } from "node:fs/promises";
import path from "node:path";
import type { Digest } from "../../support/brands.js";
import { AegisError, hasErrno } from "../../support/errors.js";
import { publish, temporaryPath } from "../../support/files.js";
import { hexOf } from "../digests.js";
import { maxDocumentSize } from "../documents.js";

export interface BlobIdentity {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/** A blob that is being written. Chunks are borrowed; the caller awaits `drain` about once per MiB. */
export interface BlobWriter {
  write(chunk: Uint8Array): void;
  drain(): Promise<void> | undefined;
  /** Publishes the blob. @throws AegisError DIGEST_MISMATCH, SIZE_MISMATCH when it is not the expected one */
  commit(expected?: { readonly digest?: Digest; readonly size?: number }): Promise<BlobIdentity>;
  /** Forgets it; harmless after commit. */
  abort(): Promise<void>;
}

const maxBuffer = 1 << 20;
const maxQueued = 4;

export const blobPath = (root: string, digest: Digest): string => path.join(root, "blobs", "sha256", hexOf(digest));

export async function hasBlob(root: string, digest: Digest): Promise<boolean> {
  try {
    await access(blobPath(root, digest));
    return true;
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}

/** Opens a blob. @throws AegisError BLOB_MISSING */
export async function openBlob(root: string, digest: Digest): Promise<FileHandle> {
  try {
    return await open(blobPath(root, digest), "r");
  } catch (error) {
    if (!hasErrno(error, "ENOENT")) throw error;
    throw new AegisError("BLOB_MISSING", `the store lacks the blob ${digest}`, {
      hint: "pull or load the image again",
      details: { digest },
    });
  }
}

/** A small blob, verified. @throws AegisError BLOB_MISSING, BLOB_TOO_LARGE, DIGEST_MISMATCH */
export async function readBlob(root: string, digest: Digest, maxBytes = maxDocumentSize): Promise<Buffer> {
  const file = await openBlob(root, digest);
  try {
    const { size } = await file.stat();
    if (size > maxBytes) throw new AegisError("BLOB_TOO_LARGE", `the blob ${digest} is larger than ${maxBytes} bytes`);
    const bytes = await file.readFile();
    const found = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    if (found !== digest) throw damaged(digest);
    return bytes;
  } finally {
    await file.close();
  }
}

/** A blob in the store no longer has its digest. */
export const damaged = (digest: Digest): AegisError =>
  new AegisError("BLOB_DAMAGED", `the stored blob ${digest} no longer has its digest`, {
    hint: "remove the image and pull, load or build it again; check the disk",
    details: { digest },
  });

/**
 * Starts a blob; its file is opened with the first write. `pin` protects its digest from collection before it becomes
 * visible. `sizeHint` saves memory for blobs that are known to be small.
 */
export function createBlob(root: string, pin: (digest: Digest) => Promise<void>, sizeHint = maxBuffer): BlobWriter {
  const directory = path.join(root, ".tmp");
  const temporary = temporaryPath(directory, "blob");
  const bufferSize = Math.max(1, Math.min(sizeHint, maxBuffer));
  let opening: Promise<FileHandle> | undefined;
  const opened = () =>
    (opening ??= mkdir(directory, { recursive: true, mode: 0o700 }).then(() => open(temporary, "wx", 0o644)));
  const hash = createHash("sha256");
  let size = 0;
  let buffer = Buffer.allocUnsafe(bufferSize);
  let filled = 0;
  let queued = 0;
  let failure: unknown;
  let tail: Promise<void> = Promise.resolve();
  let done = false;

  function flush(last = false): void {
    if (filled === 0) return;
    const bytes = buffer.subarray(0, filled);
    hash.update(bytes);
    if (!last) buffer = Buffer.allocUnsafe(bufferSize);
    filled = 0;
    queued++;
    tail = tail
      .then(async () => writeAll(await opened(), bytes))
      .catch((error) => {
        failure ??= error;
      })
      .finally(() => {
        queued--;
      });
  }

  function write(chunk: Uint8Array): void {
    size += chunk.length;
    for (let at = 0; at < chunk.length; ) {
      const length = Math.min(chunk.length - at, bufferSize - filled);
      buffer.set(chunk.subarray(at, at + length), filled);
      filled += length;
      at += length;
      if (filled === bufferSize) flush();
    }
  }

  async function settle(): Promise<void> {
    await tail;
    if (failure) throw failure;
  }

  async function abort(): Promise<void> {
    if (done) return;
    done = true;
    await tail;
    if (!opening) return;
    await opening.then((file) => file.close()).catch(() => undefined);
    await rm(temporary, { force: true });
  }

  return {
    write,
    drain: () => (failure || queued >= maxQueued ? settle() : undefined),
    async commit(expected = {}) {
      try {
        flush(true);
        await settle();
        const digest = `sha256:${hash.digest("hex")}` as Digest;
        checkIdentity({ digest, size }, expected);
        await pin(digest);
        if (!(await hasBlob(root, digest))) {
          await (await opened()).sync();
          await publish(temporary, blobPath(root, digest));
        }
        return { digest, size };
      } finally {
        await abort();
      }
    },
    abort,
  };
}

/** @throws AegisError SIZE_MISMATCH, DIGEST_MISMATCH */
export function checkIdentity(
  found: BlobIdentity,
  expected: { readonly digest?: Digest | undefined; readonly size?: number | undefined },
): void {
  const details = { expected, found };
  const hint = "the source is damaged or lies; nothing of it was kept";
  if (expected.size !== undefined && expected.size !== found.size) {
    throw new AegisError("SIZE_MISMATCH", `a blob has ${found.size} bytes where ${expected.size} were announced`, {
      hint,
      details,
    });
  }
  if (expected.digest !== undefined && expected.digest !== found.digest) {
    throw new AegisError(
      "DIGEST_MISMATCH",
      `a blob has the digest ${found.digest} where ${expected.digest} was announced`,
      {
        hint,
        details,
      },
    );
  }
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
}

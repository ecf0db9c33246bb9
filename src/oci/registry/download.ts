/**
 * Blobs from a registry into the store: resumed after cuts (also those of an earlier process), shared between processes,
 * verified before they are visible. Distribution spec 1.1, "Pulling blobs".
 */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, mkdir, open, rm, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Digest } from "../../support/brands.js";
import { AegisError, hasErrno } from "../../support/errors.js";
import { publish } from "../../support/files.js";
import { type HeldLock, tryLock } from "../../support/locks.js";
import { hexOf } from "../digests.js";
import { isForeignLayerType } from "../media-types.js";
import { readChunks } from "../read-chunks.js";
import { checkIdentity } from "../store/blobs.js";
import type { ImageStore } from "../store.js";
import type { Descriptor } from "../types.js";
import { protocolError } from "./errors.js";
import { backOff } from "./http.js";
import type { Report } from "./progress.js";
import type { Place, Session } from "./session.js";

export interface DownloadOptions {
  readonly report: Report;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes sure that the store has the blob.
 * @throws AegisError REGISTRY_*, DIGEST_MISMATCH, SIZE_MISMATCH, FOREIGN_LAYER
 */
export async function fetchBlob(
  session: Session,
  store: ImageStore,
  descriptor: Descriptor,
  options: DownloadOptions,
): Promise<void> {
  const { digest, size } = descriptor;
  const report = (status: "waiting" | "downloading" | "retrying" | "exists" | "done", done: number) =>
    options.report({ type: "blob", digest, status, done, total: size });
  if (await store.hasBlob(digest)) return report("exists", size);
  const partial = path.join(store.root, ".partial", hexOf(digest));
  await mkdir(path.dirname(partial), { recursive: true, mode: 0o700 });
  const lock = await shareWork(partial, options.signal, (done) => report("waiting", done));
  try {
    if (await store.hasBlob(digest)) {
      await rm(partial, { force: true });
      return report("exists", size);
    }
    await download(session, descriptor, partial, options, report);
    await publish(partial, store.blobPath(digest));
    report("done", size);
  } finally {
    // Whoever waits for this inode looks at the store first, so taking the name away can't lead to a second download.
    if (await store.hasBlob(digest)) await rm(`${partial}.lock`, { force: true });
    lock.release();
  }
}

/** Waits until no other process fetches the blob, and tells how far that one is. */
async function shareWork(
  partial: string,
  signal: AbortSignal | undefined,
  progress: (done: number) => void,
): Promise<HeldLock> {
  for (let pause = 10; ; pause = Math.min(pause * 2, 200)) {
    signal?.throwIfAborted();
    const lock = await tryLock(`${partial}.lock`);
    if (lock) return lock;
    progress(await sizeOf(partial));
    await sleep(pause, undefined, signal ? { signal } : {});
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return 0;
    throw error;
  }
}

async function download(
  session: Session,
  descriptor: Descriptor,
  partial: string,
  { signal }: DownloadOptions,
  report: (status: "downloading" | "retrying", done: number) => void,
): Promise<void> {
  const file = await open(partial, "a+", 0o644);
  try {
    const state = await resumed(file, descriptor.size);
    const wasResumed = state.done > 0;
    await fill(session, descriptor, file, state, signal, report);
    try {
      checkIdentity({ digest: `sha256:${state.hash.digest("hex")}` as Digest, size: state.done }, descriptor);
    } catch (error) {
      // What an earlier process left may be what is wrong: once more, from the beginning.
      await file.truncate(0);
      if (!wasResumed) throw error;
      const fresh = { hash: createHash("sha256"), done: 0 };
      await fill(session, descriptor, file, fresh, signal, report);
      checkIdentity({ digest: `sha256:${fresh.hash.digest("hex")}` as Digest, size: fresh.done }, descriptor);
    }
    await file.sync();
  } catch (error) {
    if (error instanceof AegisError && /_MISMATCH$/.test(error.code)) await file.truncate(0);
    throw error;
  } finally {
    await file.close();
  }
}

interface State {
  hash: Hash;
  done: number;
}

/** What an earlier try has left, hashed again. */
async function resumed(file: FileHandle, size: number): Promise<State> {
  const hash = createHash("sha256");
  let done = 0;
  if ((await file.stat()).size > size) await file.truncate(0);
  for await (const chunk of readChunks(file)) {
    hash.update(chunk);
    done += chunk.length;
  }
  return { hash, done };
}

/** Fetches the rest of the blob, place after place and try after try, going on where the last one stopped. */
async function fill(
  session: Session,
  descriptor: Descriptor,
  file: FileHandle,
  state: State,
  signal: AbortSignal | undefined,
  report: (status: "downloading" | "retrying", done: number) => void,
): Promise<void> {
  let place = 0;
  for (let attempt = 1; state.done < descriptor.size || descriptor.size === 0; ) {
    const before = state.done;
    const at = session.places[place]!;
    try {
      await fetchFrom(at, descriptor, file, state, signal, report);
      return;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof AegisError) || /_MISMATCH$/.test(error.code)) throw error;
      // Progress that deserves the name earns new tries; without it the next place has its turn.
      if (state.done - before >= at.http.timeouts.floor.bytes) attempt = 1;
      const again = /^REGISTRY_(INTERRUPTED|STALLED)$/.test(error.code) && attempt < at.http.retry.attempts;
      if (!again && place + 1 === session.places.length) throw foreignOr(error, descriptor);
      if (!again) place++;
      report("retrying", state.done);
      await sleep(again ? backOff(at.http.retry, attempt) : 0, undefined, signal ? { signal } : {});
      attempt = again ? attempt + 1 : 1;
    }
  }
}

async function fetchFrom(
  place: Place,
  descriptor: Descriptor,
  file: FileHandle,
  state: State,
  signal: AbortSignal | undefined,
  report: (status: "downloading", done: number) => void,
): Promise<void> {
  const headers = state.done > 0 ? { range: `bytes=${state.done}-` } : undefined;
  const answer = await place.call(`blobs/${descriptor.digest}`, {
    ...(headers ? { headers } : {}),
    ...(signal ? { signal } : {}),
  });
  if (answer.status === 200) {
    if (state.done > 0) await restart(file, state);
  } else if (answer.status === 206) {
    const start = /^bytes (\d+)-/.exec(answer.header("content-range") ?? "")?.[1];
    if (Number(start) !== state.done) {
      await answer.discard();
      throw protocolError(answer.url, "it sent another range than was asked for");
    }
  } else if (answer.status === 416) {
    await answer.discard();
    await restart(file, state);
    return await fetchFrom(place, descriptor, file, state, signal, report);
  } else {
    throw await place.refuse(answer, `blob ${descriptor.digest}`);
  }
  const announced = Number(answer.header("content-length") ?? Number.NaN);
  if (announced + state.done > descriptor.size) await tooLong(descriptor, announced + state.done);
  let writing: Promise<unknown> = Promise.resolve();
  try {
    for await (const chunk of coalesced(answer.stream())) {
      if (state.done + chunk.length > descriptor.size) await tooLong(descriptor, state.done + chunk.length);
      await writing;
      state.hash.update(chunk);
      state.done += chunk.length;
      writing = file.appendFile(chunk);
      writing.catch(() => undefined);
      report("downloading", state.done);
    }
  } finally {
    await writing;
  }
  if (state.done < descriptor.size) {
    throw new AegisError("REGISTRY_INTERRUPTED", `${answer.url.host} ended a blob too early`, {
      hint: "try again; what was fetched is kept",
      details: { digest: descriptor.digest, done: state.done, size: descriptor.size },
    });
  }
}

async function restart(file: FileHandle, state: State): Promise<void> {
  await file.truncate(0);
  state.hash = createHash("sha256");
  state.done = 0;
}

async function tooLong(descriptor: Descriptor, found: number): Promise<never> {
  checkIdentity({ digest: descriptor.digest, size: found }, descriptor);
  throw new Error("unreachable: sizes differ");
}

/** Joins the small pieces of a socket, so that hashing and writing happen half a MiB at a time. */
async function* coalesced(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const length = 512 << 10;
  let buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  let failure: unknown;
  try {
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; ) {
        const taken = Math.min(chunk.length - at, length - filled);
        buffer.set(chunk.subarray(at, at + taken), filled);
        filled += taken;
        at += taken;
        if (filled < length) continue;
        yield buffer;
        buffer = Buffer.allocUnsafe(length);
        filled = 0;
      }
    }
  } catch (error) {
    failure = error;
  }
  // What came before a cut is kept.
  if (filled > 0) yield buffer.subarray(0, filled);
  if (failure) throw failure;
}

function foreignOr(error: AegisError, descriptor: Descriptor): AegisError {
  if (!isForeignLayerType(descriptor.mediaType)) return error;
  const from = descriptor.urls?.[0] ?? "its vendor";
  return new AegisError("FOREIGN_LAYER", `a layer may not be redistributed and has to come from ${from}`, {
    hint: "such layers (Windows base images) are not fetched; use another base image",
    cause: error,
    details: { digest: descriptor.digest, urls: descriptor.urls },
  });
}

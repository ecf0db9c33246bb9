/**
 * Blobs from the store to a registry: mounted from another repository where that works, else uploaded at once, and in pieces
 * after a cut. Distribution spec 1.1, "Pushing blobs", "Mounting a blob from another repository", "Pushing a blob in chunks".
 */
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { AegisError } from "../../support/errors.js";
import type { ImageStore } from "../store.js";
import type { Descriptor } from "../types.js";
import { protocolError } from "./errors.js";
import { backOff, type HttpResponse, parseUrl } from "./http.js";
import type { BlobEvent, Report } from "./progress.js";
import type { Place } from "./session.js";

export interface UploadOptions {
  readonly report: Report;
  readonly signal?: AbortSignal | undefined;
  /** Repositories of the same registry that may hold the blob. */
  readonly mountFrom: readonly string[];
  /** Bytes of a piece; 0 means at once as long as nothing breaks. */
  readonly chunkSize: number;
  /** Awaited before the blob is read from the store. */
  readonly blobReady?: ((blob: Descriptor) => Promise<void>) | undefined;
}

/** Requests with a body are sent once, so it is decided here what is worth another try. */
const repeatable = /^REGISTRY_(INTERRUPTED|STALLED|FAILED|RATE_LIMIT)$/;

/** Pieces after a cut. */
const resumeChunkSize = 16 << 20;

/**
 * Makes sure that the repository has the blob.
 * @throws AegisError REGISTRY_*, BLOB_MISSING
 */
export async function uploadBlob(
  place: Place,
  store: ImageStore,
  descriptor: Descriptor,
  options: UploadOptions,
): Promise<void> {
  const { digest, size } = descriptor;
  const tell = (status: BlobEvent["status"], done: number) =>
    options.report({ type: "blob", digest, status, done, total: size });
  if (await isThere(place, descriptor, options.signal)) return tell("exists", size);
  for (const from of options.mountFrom) {
    if (await mount(place, descriptor, from, options.signal)) return tell("mounted", size);
  }
  await options.blobReady?.(descriptor);
  let { chunkSize } = options;
  for (let attempt = 1; ; attempt++) {
    const file = await store.openBlob(digest);
    try {
      const location = await begin(place, options.signal);
      if (chunkSize === 0) await atOnce(place, location, file, descriptor, options.signal, tell);
      else await inPieces(place, location, file, descriptor, chunkSize, options.signal, tell);
      return tell("done", size);
    } catch (error) {
      options.signal?.throwIfAborted();
      const again = error instanceof AegisError && repeatable.test(error.code);
      if (!again || attempt >= place.http.retry.attempts) throw error;
      tell("retrying", 0);
      if (size > resumeChunkSize) chunkSize ||= resumeChunkSize;
      await sleep(backOff(place.http.retry, attempt), undefined, options.signal ? { signal: options.signal } : {});
    } finally {
      await file.close();
    }
  }
}

const withSignal = (signal: AbortSignal | undefined) => (signal ? { signal } : {});

async function isThere(place: Place, { digest }: Descriptor, signal: AbortSignal | undefined): Promise<boolean> {
  const answer = await place.call(`blobs/${digest}`, { method: "HEAD", ...withSignal(signal) });
  await answer.discard();
  return answer.status === 200;
}

/** True when the registry took the blob over from `from`; anything else is no failure. */
async function mount(
  place: Place,
  { digest }: Descriptor,
  from: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const query = `blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`;
  const scopes = [...place.scopes, `repository:${from}:pull`];
  const answer = await place.call(query, { method: "POST", ...withSignal(signal) }, scopes);
  await answer.discard();
  if (answer.status === 201) return true;
  // 202 opened an upload instead; it is cancelled, so that it does not stay open.
  const location = parseUrl(answer.header("location") ?? "", answer.url);
  if (answer.status === 202 && location)
    await (await place.call(location, { method: "DELETE", attempts: 1 })).discard();
  return false;
}

async function begin(place: Place, signal: AbortSignal | undefined): Promise<URL> {
  const answer = await place.call("blobs/uploads/", { method: "POST", ...withSignal(signal) });
  if (answer.status !== 202) throw await place.refuse(answer);
  await answer.discard();
  return locationOf(answer);
}

function locationOf(answer: HttpResponse): URL {
  const url = parseUrl(answer.header("location") ?? "", answer.url);
  if (url === undefined || answer.header("location") === undefined) {
    throw protocolError(answer.url, "it does not say where to upload to");
  }
  if (answer.url.protocol === "https:" && url.protocol !== "https:") {
    throw protocolError(answer.url, "it sends an upload from TLS to plain HTTP");
  }
  return url;
}

type Tell = (status: "uploading", done: number) => void;

/** One PUT with everything. */
async function atOnce(
  place: Place,
  location: URL,
  file: FileHandle,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
  tell: Tell,
): Promise<void> {
  const url = withDigest(location, descriptor);
  const answer = await place.call(url, {
    method: "PUT",
    attempts: 1,
    headers: { "content-type": "application/octet-stream", "content-length": String(descriptor.size) },
    body: () => (descriptor.size === 0 ? "" : pieceOf(file, 0, descriptor.size, (done) => tell("uploading", done))),
    ...withSignal(signal),
  });
  if (answer.status !== 201) throw await place.refuse(answer);
  await answer.discard();
}

/** PATCH after PATCH; a broken one is taken up where the registry says that it stopped. */
async function inPieces(
  place: Place,
  start: URL,
  file: FileHandle,
  descriptor: Descriptor,
  chunkSize: number,
  signal: AbortSignal | undefined,
  tell: Tell,
): Promise<void> {
  const { size } = descriptor;
  let location = start;
  let failures = 0;
  for (let done = 0; done < size; ) {
    const end = Math.min(size, done + chunkSize);
    const from = done;
    try {
      const answer = await place.call(location, {
        method: "PATCH",
        attempts: 1,
        headers: {
          "content-type": "application/octet-stream",
          "content-length": String(end - from),
          "content-range": `${from}-${end - 1}`,
        },
        body: () => pieceOf(file, from, end, (sent) => tell("uploading", sent)),
        ...withSignal(signal),
      });
      if (answer.status !== 202 && answer.status !== 416) throw await place.refuse(answer);
      await answer.discard();
      location = answer.status === 202 ? locationOf(answer) : location;
      done = answer.status === 202 ? end : await statusOf(place, location, signal);
    } catch (error) {
      signal?.throwIfAborted();
      const transient = error instanceof AegisError && repeatable.test(error.code);
      if (!transient || ++failures >= place.http.retry.attempts) throw error;
      await sleep(backOff(place.http.retry, failures), undefined, withSignal(signal));
      done = await statusOf(place, location, signal);
    }
  }
  const answer = await place.call(withDigest(location, descriptor), {
    method: "PUT",
    headers: { "content-length": "0" },
    ...withSignal(signal),
  });
  if (answer.status !== 201) throw await place.refuse(answer);
  await answer.discard();
}

/** How many bytes of an upload have arrived. */
async function statusOf(place: Place, location: URL, signal: AbortSignal | undefined): Promise<number> {
  const answer = await place.call(location, withSignal(signal));
  if (answer.status !== 204) throw await place.refuse(answer);
  await answer.discard();
  const last = /^(?:bytes=)?0-(\d+)$/.exec(answer.header("range") ?? "")?.[1];
  // "0-0" is what an upload without any byte says as well as one with a single byte; sending that one again is refused, so
  // nothing is lost by taking it for none.
  return last === undefined || last === "0" ? 0 : Number(last) + 1;
}

function withDigest(location: URL, { digest }: Descriptor): URL {
  const url = new URL(location.href);
  url.searchParams.set("digest", digest);
  return url;
}

async function* pieceOf(
  file: FileHandle,
  start: number,
  end: number,
  sent: (done: number) => void,
): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; ) {
    // A fresh buffer each time: the socket may still hold the last one.
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(1 << 18, end - at)), { position: at });
    if (bytesRead === 0)
      throw new AegisError("BLOB_DAMAGED", "a blob of the store is shorter than its descriptor says");
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
    sent(at);
  }
}

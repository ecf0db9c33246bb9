/**
 * Remote files of ADD, kept under `$AEGIS_HOME/cache/http` by digest. An address that was fetched before is only asked whether
 * it has changed; one whose checksum is given and known is not asked at all.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AegisError, hasErrno } from "../../support/errors.js";
import { publish, replaceFile, temporaryPath } from "../../support/files.js";
import type { TreeSink } from "../../support/tree.js";

export interface Download {
  readonly url: string;
  /** What the address or the server calls it; undefined when neither does. */
  readonly name: string | undefined;
  /** sha256, hex. */
  readonly digest: string;
  readonly size: number;
  /** Seconds; Last-Modified, or 0. */
  readonly mtime: number;
  /** Host path of the content. */
  readonly file: string;
}

type Memory = Omit<Download, "url" | "file"> & { readonly etag?: string; readonly lastModified?: string };

export const isRemoteFile = (source: string): boolean => /^https?:\/\//i.test(source) && !isGitAddress(source);

export const isGitAddress = (source: string): boolean =>
  /^(git:\/\/|git@|ssh:\/\/)/.test(source) || /^https?:\/\/[^#?]+\.git([#?]|$)/.test(source);

/**
 * @param checksum `sha256:<hex>`, as `--checksum` gives it
 * @throws AegisError DOWNLOAD_FAILED, CHECKSUM_MISMATCH
 */
export async function download(
  cacheDirectory: string,
  url: string,
  checksum: string | undefined,
  signal?: AbortSignal,
): Promise<Download> {
  const directory = path.join(cacheDirectory, "http");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const record = path.join(directory, `${createHash("sha256").update(url).digest("hex")}.json`);
  const memory = await remembered(record, directory);
  if (checksum !== undefined && memory && `sha256:${memory.digest}` === checksum)
    return complete(memory, url, directory);
  const fresh = await fetchIt(url, directory, memory, signal);
  if (fresh !== memory) await replaceFile(record, JSON.stringify(fresh));
  if (checksum !== undefined && `sha256:${fresh.digest}` !== checksum) {
    throw new AegisError("CHECKSUM_MISMATCH", `${url} has the digest sha256:${fresh.digest}, not ${checksum}`, {
      hint: "the file has changed, or the --checksum is wrong; look at it before you trust it",
    });
  }
  return complete(fresh, url, directory);
}

const complete = (memory: Memory, url: string, directory: string): Download => ({
  url,
  name: memory.name,
  digest: memory.digest,
  size: memory.size,
  mtime: memory.mtime,
  file: path.join(directory, memory.digest),
});

async function remembered(record: string, directory: string): Promise<Memory | undefined> {
  try {
    const memory = JSON.parse(await readFile(record, "utf8")) as Memory;
    return existsSync(path.join(directory, memory.digest)) ? memory : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || hasErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function fetchIt(
  url: string,
  directory: string,
  memory: Memory | undefined,
  signal: AbortSignal | undefined,
): Promise<Memory> {
  const conditions = {
    ...(memory?.etag === undefined ? {} : { "if-none-match": memory.etag }),
    ...(memory?.lastModified === undefined ? {} : { "if-modified-since": memory.lastModified }),
  };
  const response = await fetch(url, {
    headers: { "accept-encoding": "identity", ...conditions },
    signal: signal ?? null,
  }).catch((error: unknown) => {
    signal?.throwIfAborted();
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw failed(url, cause instanceof Error ? cause.message : String(cause), error);
  });
  if (response.status === 304 && memory) return memory;
  if (!response.ok || !response.body) throw failed(url, `the server answers ${response.status}`, undefined);
  const temporary = temporaryPath(directory, "download");
  try {
    const hash = createHash("sha256");
    let size = 0;
    const body = Readable.fromWeb(response.body as import("node:stream/web").ReadableStream);
    body.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      size += chunk.length;
    });
    await pipeline(body, createWriteStream(temporary, { mode: 0o600 }));
    const digest = hash.digest("hex");
    await publish(temporary, path.join(directory, digest));
    const lastModified = response.headers.get("last-modified") ?? undefined;
    const etag = response.headers.get("etag") ?? undefined;
    const time = lastModified === undefined ? Number.NaN : Date.parse(lastModified);
    return {
      name: nameOf(url, response.headers.get("content-disposition")),
      digest,
      size,
      mtime: Number.isNaN(time) ? 0 : Math.floor(time / 1000),
      ...(etag === undefined ? {} : { etag }),
      ...(lastModified === undefined ? {} : { lastModified }),
    };
  } finally {
    await rm(temporary, { force: true });
  }
}

/** The server's word first, reduced to a plain file name; else the last part of the path. */
function nameOf(url: string, disposition: string | null): string | undefined {
  const said = /filename="?([^";]+)"?/i.exec(disposition ?? "")?.[1];
  const fromPath = decodeURIComponent(new URL(url).pathname.split("/").at(-1) ?? "");
  const name = path.posix.basename((said ?? fromPath).trim());
  return name === "" || name === "." || name === ".." || name.includes("\0") ? undefined : name;
}

/** Pushes a host file's bytes. */
export async function pushHostFile(file: string, sink: TreeSink): Promise<void> {
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    sink.data(chunk as Buffer);
    await sink.drain();
  }
}

const failed = (url: string, why: string, cause: unknown) =>
  new AegisError("DOWNLOAD_FAILED", `${url} could not be fetched: ${why}`, {
    hint: "check the address and the network; what was fetched before is kept",
    cause,
  });

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
import { failed, get } from "./web.js";

export interface Download {
  readonly url: string;
  /** What the address calls it. */
  readonly name: string;
  /** sha256, hex. */
  readonly digest: string;
  readonly size: number;
  /** Seconds; Last-Modified, or 0. */
  readonly mtime: number;
  /** Host path of the content. */
  readonly file: string;
}

type Memory = Omit<Download, "url" | "file"> & { readonly etag?: string; readonly lastModified?: string };

/**
 * @param checksum `sha256:<hex>`, as `--checksum` gives it
 * @throws AegisError DOWNLOAD_FAILED, CHECKSUM_MISMATCH, CHECKSUM_UNSUPPORTED
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
  if (checksum !== undefined) checkAlgorithm(checksum);
  if (checksum !== undefined && memory && `sha256:${memory.digest}` === checksum) {
    return complete(memory, url, directory);
  }
  const fresh = await fetchIt(url, directory, memory, signal);
  if (fresh !== memory) await replaceFile(record, JSON.stringify(fresh));
  if (checksum !== undefined && `sha256:${fresh.digest}` !== checksum) {
    throw new AegisError("CHECKSUM_MISMATCH", `${url} has the digest sha256:${fresh.digest}, not ${checksum}`, {
      hint: "the file has changed, or the --checksum is wrong; look at it before you trust it",
    });
  }
  return complete(fresh, url, directory);
}

function checkAlgorithm(checksum: string): void {
  if (/^sha256:[0-9a-f]{64}$/.test(checksum)) return;
  throw new AegisError("CHECKSUM_UNSUPPORTED", `"${checksum}" is not the checksum of a file`, {
    hint: "write it as --checksum=sha256:<64 hex digits>; for a git repository it is the commit",
  });
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
  const { response, close } = await get(url, { "accept-encoding": "identity", ...conditions }, signal);
  if (response.status === 304 && memory) {
    await close();
    return memory;
  }
  const temporary = temporaryPath(directory, "download");
  try {
    if (!response.ok) throw failed(url, `the server answers ${response.status}`, undefined);
    const hash = createHash("sha256");
    let size = 0;
    const body = response.body ? Readable.fromWeb(response.body) : Readable.from([]);
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
      name: nameOf(url),
      digest,
      size,
      mtime: Number.isNaN(time) ? 0 : Math.floor(time / 1000),
      ...(etag === undefined ? {} : { etag }),
      ...(lastModified === undefined ? {} : { lastModified }),
    };
  } finally {
    await close();
    await rm(temporary, { force: true });
  }
}

/** The last part of the path, and never the server's word: a file's name must not depend on who answers. */
function nameOf(url: string): string {
  const name = decoded(new URL(url).pathname).replace(/\/+$/, "").split("/").at(-1) ?? "";
  return name === "" || name === "." || name === ".." || name.includes("\0") ? unnamed : name;
}

/** As the reference names a file that its address doesn't. */
const unnamed = "__unnamed__";

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Pushes a host file's bytes. */
export async function pushHostFile(file: string, sink: TreeSink): Promise<void> {
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    sink.data(chunk as Buffer);
    await sink.drain();
  }
}

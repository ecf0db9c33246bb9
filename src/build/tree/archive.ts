/**
 * Local archives of ADD: told by their content (tar, plain or packed with gzip, bzip2, xz or zstd), and unpacked into the
 * tree with the owners, modes and times that they carry.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { decompress, sniffCompression } from "../../oci/compression/decompress.js";
import { createTarDecoder, discardTree } from "../../oci/tar/decode.js";
import { type ByteString, decodeText } from "../../support/brands.js";
import { AegisError, hasErrno } from "../../support/errors.js";
import type { TreeEntry, TreeSink } from "../../support/tree.js";
import { baseName, cleanPath, joinPath, parentOf } from "../../support/tree-paths.js";
import type { Changes, NewFile, Owner } from "./changes.js";
import type { Spool, SpooledContent } from "./spool.js";
import { resolvePath, type TreeView } from "./view.js";

/** A file's bytes, from the start each time it is called. */
export type Bytes = () => AsyncIterable<Uint8Array>;

export const bytesOfFile =
  (file: string): Bytes =>
  () =>
    createReadStream(file, { highWaterMark: 1 << 18 });

export const bytesIn =
  (view: TreeView, path: ByteString): Bytes =>
  () =>
    contentOf(view, path);

/** True when these are a tar archive in any of the packings: its first entry can be read, whatever comes after. */
export async function isArchive(bytes: Bytes): Promise<boolean> {
  let found = false;
  const entry = () => {
    found = true;
  };
  const decoder = createTarDecoder({ ...discardTree, entry });
  try {
    for await (const chunk of unpacked(bytes)) {
      decoder.write(chunk);
      if (found || decoder.ended) break;
    }
  } catch (error) {
    // Something that only looks packed is a file like any other.
    if (!(error instanceof AegisError) || error.code === "UNPACKER_MISSING") throw error;
    return found || error.code === "TAR_UNSUPPORTED";
  }
  return found;
}

/**
 * Unpacks the archive into `destination`, an exact path. `owner` replaces the owners in the archive. The destination is the
 * root of what the archive's names and links mean: it is under a chroot there.
 * @throws AegisError TAR_CORRUPT for names that climb, ARCHIVE_LINK for links that can't be followed
 */
export async function unpackInto(
  changes: Changes,
  bytes: Bytes,
  destination: ByteString,
  options: { readonly owner: Owner | undefined; readonly spool: Spool },
): Promise<void> {
  await changes.mkdirAll(destination, 0o755, options.owner ?? { uid: 0, gid: 0 });
  const entries: { readonly entry: TreeEntry; readonly content: SpooledContent }[] = [];
  const sink: TreeSink = {
    entry: (entry) => void entries.push({ entry: bounded(entry), content: { pieces: [] } }),
    data: (chunk) => options.spool.append(entries.at(-1)!.content, chunk),
    hole: (length) => void entries.at(-1)!.content.pieces.push({ at: undefined, length }),
    drain: () => undefined,
  };
  const decoder = createTarDecoder(sink, { climbing: "refuse", gnu: "refuse" });
  for await (const chunk of unpacked(bytes)) {
    decoder.write(chunk);
    if (decoder.ended) break;
  }
  decoder.end();
  const directories: [ByteString, TreeEntry][] = [];
  for (const { entry, content } of entries) {
    // The reference leaves the directory that it unpacks into as it is, whatever an entry for "." says.
    if (entry.path === "") continue;
    const target = await place(changes, destination, entry.path);
    if (entry.type === "directory") directories.push([target, entry]);
    await put(changes, destination, target, entry, content, options);
  }
  // What was put into them has moved their times on.
  for (const [target, entry] of directories) await changes.alter(target, { mtime: entry.mtime });
}

/** Where an entry goes: links on the way are followed, the entry itself replaces what has its name. */
async function place(changes: Changes, destination: ByteString, path: ByteString): Promise<ByteString> {
  const below = (at: ByteString) => cleanPath(`${destination}/${at}`);
  const inside = { lstat: (at: ByteString) => changes.lstat(below(at)) };
  const parent = await resolvePath(inside, parentOf(path), () => {
    throw badLink(`${decodeText(path)}: a symbolic link on the way leads out of /${decodeText(destination)}`);
  });
  return joinPath(below(parent), baseName(path));
}

/** One more name for a file, which may be older than the archive; it takes on what the link's own header says of it. */
async function putHardLink(
  changes: Changes,
  destination: ByteString,
  target: ByteString,
  entry: TreeEntry,
): Promise<void> {
  const name = entry.linkTarget ?? ("" as ByteString);
  const path = await place(changes, destination, name);
  const there = await changes.lstat(path);
  const file = there?.type === "directory" ? undefined : await changes.inode(path);
  if (!file) {
    const what = there ? "is a directory" : "does not exist";
    throw badLink(`${decodeText(entry.path)}: the hard link's target ${decodeText(name)} ${what}`);
  }
  const { uid, gid, mode, mtime } = entry;
  file.node = { ...file.node, uid, gid, ...(file.node.type === "symlink" ? {} : { mode, mtime }) };
  changes.put(target, file);
}

/** As the reference has it, times before 1970 are 1970. */
const bounded = (entry: TreeEntry): TreeEntry =>
  entry.mtime.sec < 0 ? { ...entry, mtime: { sec: 0, nsec: 0 } } : entry;

const badLink = (what: string) =>
  new AegisError("ARCHIVE_LINK", what, {
    hint: "the archive can't be unpacked there; --unpack=false adds it as it is",
  });

async function put(
  changes: Changes,
  destination: ByteString,
  target: ByteString,
  entry: TreeEntry,
  content: SpooledContent,
  { owner, spool }: { readonly owner: Owner | undefined; readonly spool: Spool },
): Promise<void> {
  const { path: _path, ...attributes } = entry;
  const owned = owner ? { ...attributes, uid: owner.uid, gid: owner.gid } : attributes;
  const present = await changes.lstat(target);
  if (entry.type === "directory" && present?.type === "directory") {
    const { mode, mtime } = entry;
    await changes.alter(target, { mode, mtime, uid: owned.uid, gid: owned.gid });
    return;
  }
  if (present?.type === "directory") changes.replaceDirectory(target);
  await changes.mkdirAll(parentOf(target), 0o755, { uid: 0, gid: 0 });
  if (entry.type === "hardlink") {
    return await putHardLink(changes, destination, target, { ...entry, ...owned });
  }
  const file: NewFile = {
    // Linux knows no modes of symlinks, whatever an archive says.
    node: { ...owned, type: entry.type, mode: entry.type === "symlink" ? 0o777 : entry.mode },
    content: entry.type === "file" ? { kind: "spool", read: (sink) => spool.read(content, sink) } : undefined,
  };
  changes.put(target, file);
}

/** The bytes of a file with its packing, if any, taken off. */
async function* unpacked(bytes: Bytes): AsyncGenerator<Uint8Array> {
  const source = bytes()[Symbol.asyncIterator]();
  const first = await source.next();
  if (first.done) return;
  const whole = prefixed(first.value, source);
  const compression = sniffCompression(first.value);
  if (compression === "xz" || compression === "bzip2") yield* filtered(whole, compression === "xz" ? "xz" : "bzip2");
  else yield* decompress(whole, compression);
}

async function* prefixed(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield first;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.(undefined);
  }
}

/** A file's content, pulled. */
async function* contentOf(view: TreeView, path: ByteString): AsyncGenerator<Uint8Array> {
  const ready: Uint8Array[] = [];
  let wake: (() => void) | undefined;
  let resume: (() => void) | undefined;
  let done = false;
  let stopped = false;
  const notify = () => {
    wake?.();
    wake = undefined;
  };
  const reading = view
    .read(path, {
      entry: () => undefined,
      data: (chunk) => {
        if (!stopped) ready.push(Uint8Array.from(chunk));
        notify();
      },
      hole: (length) => {
        if (!stopped) ready.push(new Uint8Array(length));
        notify();
      },
      drain: () => (stopped || ready.length < 4 ? undefined : new Promise((resolve) => (resume = resolve))),
    })
    .finally(() => {
      done = true;
      notify();
    });
  reading.catch(() => undefined);
  try {
    while (!done || ready.length > 0) {
      const chunk = ready.shift();
      if (chunk) yield chunk;
      else if (!done) await new Promise<void>((resolve) => (wake = resolve));
      resume?.();
    }
    await reading;
  } finally {
    stopped = true;
    resume?.();
  }
}

/** bzip2 and xz have no decoder here; the host's programs do it. */
async function* filtered(source: AsyncGenerator<Uint8Array>, program: "xz" | "bzip2"): AsyncGenerator<Uint8Array> {
  const child = spawn(program, ["-dc"], { stdio: ["pipe", "pipe", "ignore"] });
  const failed = once(child, "error").then(([error]: unknown[]) => {
    throw hasErrno(error, "ENOENT") ? unpackerMissing(program) : error;
  });
  failed.catch(() => undefined);
  child.stdin.on("error", () => undefined);
  Readable.from(source).pipe(child.stdin);
  try {
    const chunks = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    for (;;) {
      const next = await Promise.race([chunks.next(), failed]);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    child.kill();
  }
}

const unpackerMissing = (program: string) =>
  new AegisError("UNPACKER_MISSING", `an archive is packed with ${program}, which is not installed here`, {
    hint: program === "xz" ? "install xz (xz-utils), or pack it with gzip" : "install bzip2, or pack it with gzip",
  });

/**
 * `cp`: a tar stream to or from the harness, which packs and unpacks in the guest, so that the image needs no `tar`. What comes out of a guest is hostile: nothing is written through a link or
 * outside of the destination, links are made last, and ownership stays with whoever copies.
 */
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { lstat, mkdir, readdir, readlink, rm, stat, symlink } from "node:fs/promises";
import path from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Header, Pack } from "tar-stream";
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { interact } from "./client.js";
import { collect } from "./collect.js";
import { guestTool } from "./guest-tools.js";
import type { InstanceConfig } from "./types.js";

interface Exec {
  readonly argv: readonly string[];
  readonly stdin?: Readable;
  readonly stdout?: NodeJS.WritableStream;
}

async function inGuest(home: AegisHome, config: InstanceConfig, { argv, stdin, stdout }: Exec): Promise<void> {
  const stderr = collect(64 << 10);
  const process = guestTool(argv);
  const { exited } = await interact(
    home,
    config,
    { op: "exec", stdin: stdin !== undefined, process },
    { stdin, stdout, stderr: stderr.stream },
  );
  const { exitCode } = await exited;
  if (exitCode === 0) return;
  const words = stderr.bytes().toString("utf8").trim();
  throw new AegisError("COPY_FAILED", `copying in ${config.name} failed: ${words || `status ${exitCode}`}`, {
    hint: "check the paths",
  });
}

/** Streams a path of the guest as a tar. */
export async function tarFromGuest(
  home: AegisHome,
  config: InstanceConfig,
  guestPath: string,
  output: NodeJS.WritableStream,
): Promise<void> {
  await inGuest(home, config, { argv: packCommand(guestPath), stdout: output });
}

/** Unpacks a tar into an existing directory of the guest. */
export async function tarToGuest(
  home: AegisHome,
  config: InstanceConfig,
  input: Readable,
  directory: string,
): Promise<void> {
  await inGuest(home, config, { argv: ["unpack", directory], stdin: input });
}

/** Copies a file or directory out; into `target` if that is a directory, else as `target`. */
export async function copyFromGuest(
  home: AegisHome,
  config: InstanceConfig,
  guestPath: string,
  target: string,
): Promise<void> {
  const { extract: createExtract } = await import("tar-stream");
  const existing = await stat(target).catch(() => undefined);
  const contents = /(^|\/)\.$/.test(guestPath);
  const base = path.posix.basename(path.posix.resolve("/", guestPath));
  const intoDirectory = existing?.isDirectory() ?? /\/$/.test(target);
  const root = intoDirectory || contents ? target : path.dirname(target);
  const rename = intoDirectory || contents ? base : path.basename(target);
  await mkdir(root, { recursive: true });
  const extract = createExtract();
  const stream = new PassThrough();
  const fed = inGuest(home, config, { argv: packCommand(guestPath), stdout: stream }).finally(() => stream.end());
  const unpacked = unpack(extract, root, contents ? undefined : { from: base, to: rename });
  await Promise.all([fed, pipeline(stream, extract), unpacked]);
}

function packCommand(guestPath: string): readonly string[] {
  const whole = path.posix.resolve("/", guestPath);
  // As in Docker, DIR/. means what is in it.
  if (/(^|\/)\.$/.test(guestPath) || whole === "/") return ["pack", whole, "."];
  return ["pack", path.posix.dirname(whole), path.posix.basename(whole)];
}

async function unpack(
  extract: AsyncIterable<AsyncIterable<unknown> & { readonly header: Header; resume(): unknown }>,
  root: string,
  rename: { readonly from: string; readonly to: string } | undefined,
): Promise<void> {
  const links: { at: string; to: string }[] = [];
  for await (const entry of extract) {
    const { name, type, mode = 0o644, linkname = "" } = entry.header;
    const parts = name.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.includes("..")) throw hostile(name);
    if (rename && parts[0] === rename.from) parts[0] = rename.to;
    const at = path.join(root, ...parts);
    if (parts.length > 0) await checkParents(root, parts);
    if (type === "directory") await mkdir(at, { recursive: true, mode: (mode & 0o777) | 0o700 });
    else if (type === "symlink") links.push({ at, to: linkname });
    else if (type === "file" || type === "contiguous-file") {
      await mkdir(path.dirname(at), { recursive: true });
      await rm(at, { force: true });
      await pipeline(entry as AsyncIterable<Buffer>, createWriteStream(at, { flags: "wx", mode: mode & 0o777 }));
      continue;
    }
    // Devices, pipes and hard links to elsewhere have no place in a copy.
    entry.resume();
  }
  for (const { at, to } of links) {
    await mkdir(path.dirname(at), { recursive: true });
    await rm(at, { force: true });
    await symlink(to, at);
  }
}

/** No component below the root may be a link, or a file would land where it leads. */
async function checkParents(root: string, parts: readonly string[]): Promise<void> {
  for (let depth = 1; depth < parts.length; depth++) {
    const parent = path.join(root, ...parts.slice(0, depth));
    const found = await lstat(parent).catch(() => undefined);
    if (found?.isSymbolicLink()) throw hostile(parts.join("/"));
  }
}

const hostile = (name: string) =>
  new AegisError("COPY_REFUSED", `the guest's archive wants to write outside of the destination: ${name}`, {
    hint: "copy into an empty directory",
  });

/** Copies a file or directory in; into `guestPath` if that is a directory there, else as `guestPath`. */
export async function copyToGuest(
  home: AegisHome,
  config: InstanceConfig,
  source: string,
  guestPath: string,
): Promise<void> {
  const { pack: createPack } = await import("tar-stream");
  const whole = path.posix.resolve("/", guestPath);
  const isDirectory = await inGuest(home, config, { argv: ["is-directory", whole] }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof AegisError && error.code === "COPY_FAILED") return false;
      throw error;
    },
  );
  const contents = /(^|\/)\.$/.test(source);
  const name = contents
    ? "."
    : isDirectory || guestPath.endsWith("/")
      ? path.basename(path.resolve(source))
      : path.posix.basename(whole);
  const directory = contents || isDirectory || guestPath.endsWith("/") ? whole : path.posix.dirname(whole);
  const pack = createPack();
  const out = new PassThrough();
  const packed = addTree(pack, source, name).then(
    () => pack.finalize(),
    (error: unknown) => pack.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  await Promise.all([tarToGuest(home, config, out, directory), pipeline(pack, out), packed]);
}

async function addTree(pack: Pack, source: string, name: string): Promise<void> {
  const found = await lstat(source);
  const header = { name, mode: found.mode & 0o7777, mtime: found.mtime, uid: 0, gid: 0 };
  if (found.isDirectory()) {
    pack.entry({ ...header, type: "directory" });
    for (const child of (await readdir(source)).sort()) {
      await addTree(pack, path.join(source, child), path.posix.join(name, child));
    }
  } else if (found.isSymbolicLink()) {
    pack.entry({ ...header, type: "symlink", linkname: await readlink(source) });
  } else if (found.isFile()) {
    const sink = pack.entry({ ...header, size: found.size });
    for await (const chunk of createReadStream(source)) {
      if (!sink.write(chunk)) await once(sink, "drain");
    }
    sink.end(undefined);
  }
}

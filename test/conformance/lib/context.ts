/** Writes a case's build context to a directory. */
import { execFileSync } from "node:child_process";
import { createWriteStream, lchownSync, lstatSync } from "node:fs";
import { chmod, link, lutimes, mkdir, rm, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import tar from "tar-stream";
import { type ConformanceCase, type ContextEntry, contextTime, type TarEntry } from "./case.js";

const compressors = { gzip: ["gzip", "-n"], bzip2: ["bzip2"], xz: ["xz"], zstd: ["zstd", "-q", "--rm"] } as const;
const suffixes = { gzip: ".gz", bzip2: ".bz2", xz: ".xz", zstd: ".zst" } as const;

/** Fills an existing empty directory: the Dockerfile and all context entries. */
export async function writeContext(
  directory: string,
  item: ConformanceCase,
  time: number = contextTime,
): Promise<void> {
  const entries = Object.entries(item.context ?? {});
  for (const [name, entry] of [["Dockerfile", item.dockerfile] as const, ...entries]) {
    const target = path.join(directory, name);
    await mkdir(path.dirname(target), { recursive: true, mode: 0o755 });
    await writeEntry(directory, target, entry);
  }
  // Last, because every new entry touches its directory: deepest first.
  const all = execFileSync("find", [directory, "-depth", "-print0"]).toString().split("\0").filter(Boolean);
  for (const found of all) {
    if (lstatSync(found).uid !== 1000) lchownSync(found, 1000, 1000);
    await lutimes(found, time, time);
  }
  await utimes(directory, time, time);
}

async function writeEntry(root: string, target: string, entry: ContextEntry): Promise<void> {
  if (typeof entry === "string") return writeBytes(target, Buffer.from(entry), 0o644);
  if ("content" in entry) {
    await writeBytes(target, Buffer.from(entry.content), entry.mode ?? 0o644);
    // Taken from the name at once: a change of owner, which comes last, would drop capabilities.
    lchownSync(target, 1000, 1000);
    for (const [name, hex] of Object.entries(entry.xattrs ?? {}))
      execFileSync("setfattr", ["-n", name, "-v", `0x${hex}`, target]);
    return;
  }
  if ("base64" in entry) return writeBytes(target, Buffer.from(entry.base64, "base64"), entry.mode ?? 0o644);
  if ("symlink" in entry) return symlink(entry.symlink, target);
  if ("hardlink" in entry) return link(path.join(root, entry.hardlink), target);
  if ("hole" in entry) {
    await writeFile(target, "");
    return truncate(target, entry.hole);
  }
  if ("fifo" in entry) return special(target, entry.mode, "p");
  if ("device" in entry) return special(target, entry.mode, "c", ...entry.device.map(String));
  if ("tar" in entry) return writeTar(target, entry.tar, entry.compression);
  await mkdir(target, { recursive: true });
  await chmod(target, entry.mode ?? 0o755);
}

async function special(target: string, mode: number | undefined, ...words: readonly string[]): Promise<void> {
  execFileSync("mknod", [target, ...words]);
  await chmod(target, mode ?? 0o644);
}

async function writeBytes(target: string, content: Buffer, mode: number): Promise<void> {
  await writeFile(target, content);
  await chmod(target, mode);
}

async function writeTar(
  target: string,
  entries: Readonly<Record<string, TarEntry>>,
  compression: keyof typeof compressors | undefined,
): Promise<void> {
  const pack = tar.pack();
  for (const [name, entry] of Object.entries(entries)) {
    const type = entry.type ?? "file";
    pack.entry(
      {
        name,
        type,
        mode: entry.mode ?? (type === "directory" ? 0o755 : 0o644),
        uid: entry.uid ?? 0,
        gid: entry.gid ?? 0,
        mtime: new Date((entry.mtime ?? contextTime) * 1000),
        ...(entry.device ? { devmajor: entry.device[0], devminor: entry.device[1] } : {}),
        ...(entry.linkname === undefined ? {} : { linkname: entry.linkname }),
        ...(entry.xattrs === undefined ? {} : { pax: paxOf(entry.xattrs) }),
      },
      entry.content ?? "",
    );
  }
  pack.finalize();
  await pipeline(pack, createWriteStream(target));
  if (compression === undefined) return;
  const [command, ...flags] = compressors[compression];
  execFileSync(command, [...flags, "-f", target]);
  const compressed = target + suffixes[compression];
  execFileSync("mv", [compressed, target]);
  await rm(compressed, { force: true });
}

const paxOf = (xattrs: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(xattrs).map(([name, value]) => [`SCHILY.xattr.${name}`, value]));

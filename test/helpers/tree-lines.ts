/** File trees as sorted lines of text, one a path, so that two trees compare with a readable difference. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { type BigIntStats, closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import type { ByteString } from "../../src/support/brands.js";
import type { TreeEntry, TreeSink } from "../../src/support/tree.js";

interface Facts {
  readonly path: string;
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sec: number | bigint;
  readonly nsec: number | bigint;
  /** Size and digest of a file, target of a symlink, numbers of a device. */
  readonly detail: string;
  readonly xattrs: ReadonlyMap<string, Uint8Array> | undefined;
}

function line(facts: Facts): string {
  const { path, type, mode, uid, gid, sec, nsec, detail } = facts;
  const xattrs = [...(facts.xattrs ?? [])]
    .map(([name, value]) => `${name}=${Buffer.from(value).toString("hex")}`)
    .sort();
  return [JSON.stringify(path), type, mode.toString(8), `${uid}:${gid}`, `${sec}.${nsec}`, detail, ...xattrs].join(" ");
}

const ZEROS = Buffer.alloc(1 << 16);

/** A sink that remembers what it was given. Hard links show as the first path in byte order of their inode. */
export class TreeLines implements TreeSink {
  readonly entries = new Map<string, { entry: TreeEntry; detail: string }>();
  #open: { entry: TreeEntry; hash: ReturnType<typeof createHash>; left: number } | undefined;

  entry(entry: TreeEntry): void {
    if (this.#open) throw new Error(`${this.#open.entry.path} lacks ${this.#open.left} bytes`);
    const detail =
      entry.type === "symlink"
        ? JSON.stringify(entry.linkTarget)
        : entry.type === "char" || entry.type === "block"
          ? `${entry.devMajor}:${entry.devMinor}`
          : "";
    this.entries.set(entry.path, { entry, detail });
    if (entry.type === "file") {
      this.#open = { entry, hash: createHash("sha256"), left: entry.size };
      this.#take(0);
    }
  }

  data(chunk: Uint8Array): void {
    this.#open!.hash.update(chunk);
    this.#take(chunk.length);
  }

  hole(length: number): void {
    for (let left = length; left > 0; left -= ZEROS.length) {
      this.#open!.hash.update(left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS);
    }
    this.#take(length);
  }

  drain(): undefined {}

  #take(length: number): void {
    const open = this.#open!;
    open.left -= length;
    if (open.left < 0) throw new Error(`${open.entry.path} has too much content`);
    if (open.left > 0) return;
    const detail = `${open.entry.size} ${open.hash.digest("hex")}`;
    this.entries.set(open.entry.path, { entry: open.entry, detail });
    this.#open = undefined;
  }

  /** The tree, sorted. */
  lines(): string[] {
    const groups = new Map<string, string[]>();
    const first = (path: string): string => {
      const { entry } = this.entries.get(path)!;
      return entry.type === "hardlink" ? first(entry.linkTarget!) : path;
    };
    for (const path of this.entries.keys()) groups.set(first(path), [...(groups.get(first(path)) ?? []), path]);
    return [...this.entries.keys()]
      .map((path) => {
        const { entry, detail } = this.entries.get(first(path))!;
        const group = groups.get(first(path))!.sort();
        const { type, mode, uid, gid, mtime, xattrs } = entry;
        const { sec, nsec } = mtime;
        return line({
          path,
          type: group.length > 1 ? `${type}(${group[0]})` : type,
          mode,
          uid,
          gid,
          sec,
          nsec,
          detail,
          xattrs,
        });
      })
      .sort();
  }
}

/** The same lines for a directory of the host, its own entry included. Sockets are left out. */
export function hostTreeLines(root: string, options: { readonly skip?: readonly string[] } = {}): string[] {
  const xattrs = hostXattrs(root);
  const found: { facts: Facts; inode: bigint; isLinked: boolean }[] = [];
  const visit = (path: string): void => {
    const hostPath = Buffer.from(path === "" ? root : `${Buffer.from(root).toString("latin1")}/${path}`, "latin1");
    const stat = lstatSync(hostPath, { bigint: true });
    if (stat.isSocket() || options.skip?.includes(path)) return;
    const nsec = ((stat.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    const facts = {
      path,
      type: typeOf(stat),
      mode: Number(stat.mode & 0o7777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      sec: (stat.mtimeNs - nsec) / 1_000_000_000n,
      nsec,
      detail: hostDetail(stat, hostPath),
      xattrs: xattrs.get(path),
    };
    found.push({ facts, inode: stat.ino, isLinked: !stat.isDirectory() && stat.nlink > 1n });
    if (!stat.isDirectory()) return;
    for (const name of readdirSync(hostPath, { encoding: "latin1" })) visit(path === "" ? name : `${path}/${name}`);
  };
  visit("");
  const groups = new Map<bigint, string[]>();
  for (const { facts, inode, isLinked } of found) {
    if (isLinked) groups.set(inode, [...(groups.get(inode) ?? []), facts.path].sort());
  }
  return found
    .map(({ facts, inode, isLinked }) => {
      const group = isLinked ? groups.get(inode)! : [];
      return line(group.length > 1 ? { ...facts, type: `${facts.type}(${group[0]})` } : facts);
    })
    .sort();
}

function typeOf(stat: BigIntStats): string {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "char";
  return stat.isBlockDevice() ? "block" : "fifo";
}

function fileDigest(path: Buffer): string {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(1 << 20);
  const fd = openSync(path, "r");
  try {
    for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer))
      hash.update(buffer.subarray(0, count));
  } finally {
    closeSync(fd);
  }
  return hash.digest("hex");
}

function hostDetail(stat: BigIntStats, path: Buffer): string {
  if (stat.isFile()) return `${stat.size} ${fileDigest(path)}`;
  if (stat.isSymbolicLink()) return JSON.stringify(readlinkSync(path, { encoding: "latin1" }));
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) return "";
  // glibc's makedev
  const dev = stat.rdev;
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return `${major}:${minor & 0xffffffffn}`;
}

/** Extended attributes of everything below `root`, by path; needs the tool of package `attr`. */
function hostXattrs(root: string): Map<string, Map<string, Uint8Array>> {
  const args = ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--absolute-names", root];
  const output = execFileSync("getfattr", args, { encoding: "latin1", maxBuffer: 1 << 30 });
  const all = new Map<string, Map<string, Uint8Array>>();
  const prefix = Buffer.from(root).toString("latin1").length + 1;
  let current = new Map<string, Uint8Array>();
  for (const text of output.split("\n")) {
    const file = /^# file: (.*)$/.exec(text)?.[1];
    const attribute = /^([^=]+)(?:=0x([0-9a-f]*))?$/.exec(text);
    if (file !== undefined) {
      current = new Map();
      const path = unescapeOctal(file).slice(prefix);
      all.set(path, current);
    } else if (attribute) {
      current.set(unescapeOctal(attribute[1]!), Buffer.from(attribute[2] ?? "", "hex"));
    }
  }
  return all;
}

const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** An entry with plain values where the test doesn't care. */
export function treeEntry(path: string, type: TreeEntry["type"], more: Partial<TreeEntry> = {}): TreeEntry {
  const mode = type === "directory" ? 0o755 : type === "symlink" ? 0o777 : 0o644;
  return {
    path: path as ByteString,
    type,
    mode,
    uid: 0,
    gid: 0,
    mtime: { sec: 1_700_000_000, nsec: 0 },
    size: 0,
    ...more,
  };
}

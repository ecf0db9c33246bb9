/** A directory of the host as a tree view, attributes of the overlay and device nodes included. */
import type { BigIntStats } from "node:fs";
import { constants, lstat, open, readdir, readlink } from "node:fs/promises";
import path from "node:path";
import { type ByteString, byteString, bytesOf, decodeText, encodeText } from "../support/brands.js";
import { AegisError, hasErrno } from "../support/errors.js";
import type { EntryType, TreeEntry, TreeSink } from "../support/tree.js";
import { byBytes } from "./overlay.js";
import type { TreeView, ViewNode } from "./view.js";

const readSize = 1 << 20;
/** xattr(7). */
const namespaces = /^(?:user|trusted|security|system)\../;
const quietly = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** `root` is an absolute path. Extended attributes are read of files and directories, which are safe to open. */
export function hostView(root: string): TreeView {
  const prefix = Buffer.from(root.endsWith(path.sep) ? root : `${root}/`);
  const at = (name: ByteString) => Buffer.concat([prefix, bytesOf(name)]);
  return {
    async lookup(name) {
      const stat = await lstat(at(name), { bigint: true }).catch(absent);
      const type = stat && typeOf(stat);
      return stat && type && (await nodeOf(at(name), name, stat, type));
    },
    async list(name) {
      const found = await readdir(at(name), { encoding: "buffer" }).catch(absent);
      return (found ?? []).map(byteString).sort(byBytes);
    },
    copyContent: async (name, sink) => await copyFile(at(name), sink),
  };
}

function absent(error: unknown): undefined {
  if (hasErrno(error, "ENOENT", "ENOTDIR")) return undefined;
  throw error;
}

async function nodeOf(file: Buffer, name: ByteString, stat: BigIntStats, type: EntryType): Promise<ViewNode> {
  const isDevice = type === "char" || type === "block";
  const entry: TreeEntry = {
    path: name,
    type,
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtime: timeOf(stat.mtimeNs),
    size: type === "file" ? Number(stat.size) : 0,
    linkTarget: type === "symlink" ? byteString(await readlink(file, { encoding: "buffer" })) : undefined,
    devMajor: isDevice ? Number(((stat.rdev >> 8n) & 0xfffn) | ((stat.rdev >> 32n) & ~0xfffn)) : undefined,
    devMinor: isDevice ? Number((stat.rdev & 0xffn) | ((stat.rdev >> 12n) & ~0xffn)) : undefined,
    xattrs: type === "file" || type === "directory" ? await xattrsOf(file) : undefined,
  };
  return { entry, identity: `${stat.dev}:${stat.ino}`, links: Number(stat.nlink) };
}

function timeOf(nanoseconds: bigint): TreeEntry["mtime"] {
  const nsec = ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { sec: Number((nanoseconds - nsec) / 1_000_000_000n), nsec: Number(nsec) };
}

function typeOf(stat: BigIntStats): EntryType | undefined {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "char";
  if (stat.isBlockDevice()) return "block";
  return stat.isFIFO() ? "fifo" : undefined;
}

async function xattrsOf(file: Buffer): Promise<ReadonlyMap<string, Uint8Array> | undefined> {
  const { default: native } = await import("fs-native-extensions");
  const handle = await open(file, quietly);
  try {
    // On an overlay the kernel announces more bytes than it then fills, and the list ends in whatever was there before.
    const names = (await native.listAttrs(handle.fd)).filter((name) => namespaces.test(name));
    const xattrs = new Map<string, Uint8Array>();
    for (const name of names.map(encodeText).sort(byBytes)) {
      const value = await native.getAttr(handle.fd, decodeText(name));
      if (value) xattrs.set(name, value);
      // The library takes and gives text: bytes that are none have become U+FFFD, which nothing is found by.
      else if (decodeText(name).includes("\ufffd")) throw unreadable(file, name);
    }
    return xattrs.size > 0 ? xattrs : undefined;
  } finally {
    await handle.close();
  }
}

const unreadable = (file: Buffer, name: ByteString) =>
  new AegisError("XATTR_NAME", `${file} has an extended attribute whose name is no UTF-8: ${decodeText(name)}`, {
    hint: "remove it (setfattr -x); such names can be kept in layers and disks, but not read from a directory of the host",
  });

async function copyFile(file: Buffer, sink: TreeSink): Promise<void> {
  const handle = await open(file, quietly);
  try {
    const buffer = Buffer.allocUnsafe(readSize);
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, readSize);
      if (bytesRead === 0) return;
      sink.data(buffer.subarray(0, bytesRead));
      await sink.drain();
    }
  } finally {
    await handle.close();
  }
}

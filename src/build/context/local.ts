/**
 * A directory of the host as a tree: the build context, or a named one. What `.dockerignore` leaves out is not there, and
 * is not touched. Owners are dropped (0:0), as the reference does. Looking is synchronous: a context is many small `lstat`s.
 */
import { createHash } from "node:crypto";
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, type Stats } from "node:fs";
import { open } from "node:fs/promises";
import { type ByteString, bytesOf } from "../../support/brands.js";
import { AegisError, hasErrno } from "../../support/errors.js";
import type { TreeSink } from "../../support/tree.js";
import { joinPath } from "../../support/tree-paths.js";
import type { ContextDigests, FileIdentity } from "../cache/digests.js";
import type { TreeFilter } from "../tree/filter.js";
import type { NodeType, TreeNode, TreeView } from "../tree/view.js";

export interface ContextView extends TreeView {
  /** sha256 of a file's content, hex. */
  digest(path: ByteString): Promise<string>;
}

interface Seen {
  readonly node: TreeNode;
  /** Of a regular file; all of `Stats` would weigh ten times as much. */
  readonly identity?: FileIdentity | undefined;
}

export class LocalTree implements ContextView {
  readonly #seen = new Map<ByteString, Seen | undefined>();
  readonly #names = new Map<ByteString, readonly ByteString[]>();
  readonly #root: Buffer;

  constructor(
    root: string,
    readonly digests: ContextDigests,
    readonly filter?: TreeFilter,
  ) {
    this.#root = Buffer.from(`${root}/`);
  }

  #absolute(path: ByteString): Buffer {
    return path === "" ? this.#root : Buffer.concat([this.#root, bytesOf(path)]);
  }

  async lstat(path: ByteString): Promise<TreeNode | undefined> {
    return this.#look(path)?.node;
  }

  #look(path: ByteString): Seen | undefined {
    const known = this.#seen.get(path);
    if (known !== undefined || this.#seen.has(path)) return known;
    const seen = this.#lookNow(path);
    this.#seen.set(path, seen);
    return seen;
  }

  #lookNow(path: ByteString): Seen | undefined {
    const out = path !== "" && this.filter?.ignored(path) === true;
    if (out && !this.filter?.mayReinclude(path)) return undefined;
    const absolute = this.#absolute(path);
    const stat = statOf(absolute);
    const type = stat && typeOf(stat);
    if (!stat || !type) return undefined;
    // An ignored directory is there only for the sake of something below that isn't.
    if (out && (type !== "directory" || this.#list(path).length === 0)) return undefined;
    return { node: nodeOf(stat, type, absolute), identity: stat.isFile() ? identityOf(stat) : undefined };
  }

  async readdir(path: ByteString): Promise<readonly ByteString[]> {
    return this.#look(path)?.node.type === "directory" ? this.#list(path) : [];
  }

  #list(path: ByteString): readonly ByteString[] {
    let names = this.#names.get(path);
    if (!names) {
      names = (readdirSync(this.#absolute(path), "latin1") as ByteString[]).filter(
        (name) => this.#look(joinPath(path, name)) !== undefined,
      );
      this.#names.set(path, names);
    }
    return names;
  }

  async digest(path: ByteString): Promise<string> {
    const seen = this.#look(path);
    if (!seen) throw vanished(path);
    return seen.identity ? this.digests.digest(path, seen.identity) : emptyDigest;
  }

  #readSmall(path: ByteString, size: number): Buffer {
    const bytes = Buffer.allocUnsafe(size);
    const fd = openSync(this.#absolute(path), "r");
    try {
      for (let done = 0; done < size; ) {
        const count = readSync(fd, bytes, done, size - done, null);
        if (count === 0) throw vanished(path);
        done += count;
      }
    } finally {
      closeSync(fd);
    }
    return bytes;
  }

  async read(path: ByteString, sink: TreeSink): Promise<void> {
    const size = this.#look(path)?.node.size ?? 0;
    if (size === 0) return;
    if (size <= smallFile) {
      sink.data(this.#readSmall(path, size));
      await sink.drain();
      return;
    }
    await using file = await open(this.#absolute(path), "r");
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(size, 1 << 20)));
    for (let left = size; left > 0; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(left, buffer.length));
      if (bytesRead === 0) throw vanished(path);
      sink.data(buffer.subarray(0, bytesRead));
      left -= bytesRead;
      await sink.drain();
    }
  }
}

/** Below it, going to another thread and back four times takes longer than reading. */
const smallFile = 1 << 17;

const emptyDigest = createHash("sha256").digest("hex");

function vanished(path: ByteString): AegisError {
  return new AegisError("CONTEXT_CHANGED", `${path} changed while the context was being read`, {
    hint: "build again once nothing writes to the context",
  });
}

const identityOf = ({ size, mtimeMs, ctimeMs, ino }: Stats): FileIdentity => ({ size, mtimeMs, ctimeMs, ino });

function statOf(absolute: Buffer): Stats | undefined {
  try {
    return lstatSync(absolute);
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR", "ENAMETOOLONG")) return undefined;
    throw error;
  }
}

function typeOf(stat: Stats): NodeType | undefined {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isFIFO()) return "fifo";
  if (stat.isCharacterDevice()) return "char";
  if (stat.isBlockDevice()) return "block";
  // The reference hands a socket on as an empty file.
  if (stat.isSocket()) return "file";
  return undefined;
}

function nodeOf(stat: Stats, type: NodeType, absolute: Buffer): TreeNode {
  const sec = Math.floor(stat.mtimeMs / 1000);
  const node: TreeNode = {
    type,
    mode: stat.mode & 0o7777,
    uid: 0,
    gid: 0,
    mtime: { sec, nsec: Math.min(999_999_999, Math.round((stat.mtimeMs - sec * 1000) * 1e6)) },
    size: stat.isFile() ? stat.size : 0,
  };
  if (type === "symlink") return { ...node, linkTarget: readlinkSync(absolute, "latin1") as ByteString };
  if (type === "char" || type === "block") return { ...node, ...deviceNumbers(stat.rdev) };
  return type === "file" && stat.nlink > 1 ? { ...node, inode: `${stat.dev}:${stat.ino}` } : node;
}

/** Linux's encoding of dev_t (glibc's gnu_dev_major and gnu_dev_minor). */
function deviceNumbers(rdev: number): { devMajor: number; devMinor: number } {
  const value = BigInt(rdev);
  return {
    devMajor: Number(((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn)),
    devMinor: Number((value & 0xffn) | ((value >> 12n) & ~0xffn & 0xffffffffn)),
  };
}

/**
 * Additions to a tree that exist only in memory until they are written as one layer: what COPY, ADD and WORKDIR do. Reads
 * fall through to the parent tree. The layer is what an overlay differ would have made: changed entries, and the
 * directories that lead to them, in walking order.
 */
import { createHash } from "node:crypto";
import type { ByteString } from "../../support/brands.js";
import { decodeText } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { Timespec, TreeEntry, TreeSink } from "../../support/tree.js";
import { joinPath, parentOf } from "../../support/tree-paths.js";
import { rootNode, type TreeNode, type TreeView } from "./view.js";

/** Where a file's bytes come from. */
export type Content =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "spool"; readonly read: (sink: TreeSink) => Promise<void> }
  | { readonly kind: "view"; readonly view: TreeView; readonly path: ByteString };

/** One inode: names that share it are hard links. */
export interface NewFile {
  node: TreeNode;
  readonly content: Content | undefined;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export class Changes {
  readonly #new = new Map<ByteString, NewFile>();
  /** Existing directories that got a new entry. */
  readonly #touched = new Set<ByteString>();
  readonly #replacedDirectories = new Set<ByteString>();

  constructor(
    readonly parent: TreeView,
    readonly now: Timespec,
  ) {}

  async lstat(path: ByteString): Promise<TreeNode | undefined> {
    const own = this.#new.get(path);
    if (own) return own.node;
    if (path === "") return (await this.parent.lstat(path)) ?? rootNode;
    if (this.#replacedDirectories.size > 0) {
      for (let at = parentOf(path); at !== ""; at = parentOf(at))
        if (this.#replacedDirectories.has(at)) return undefined;
    }
    return await this.parent.lstat(path);
  }

  /** Puts an inode at `path`, whose parent directory exists. What is there goes; a directory must be removed first. */
  put(path: ByteString, file: NewFile): void {
    this.#new.set(path, file);
    this.#touch(parentOf(path));
  }

  /** The inode at `path`, brought into these changes, so that it can be altered or get one more name. */
  async inode(path: ByteString): Promise<NewFile | undefined> {
    const own = this.#new.get(path);
    const node = own ? undefined : await this.lstat(path);
    if (!node) return own;
    const content = node.type === "file" ? ({ kind: "view", view: this.parent, path } as const) : undefined;
    const file: NewFile = { node, content };
    this.#new.set(path, file);
    return file;
  }

  /** Everything that was put or altered here, by path. */
  added(): Iterable<readonly [ByteString, NewFile]> {
    return this.#new;
  }

  /** Changes a node's attributes in place. */
  async alter(path: ByteString, change: Partial<TreeNode>): Promise<void> {
    const file = await this.inode(path);
    if (file) file.node = { ...file.node, ...change };
  }

  /** Removes a directory and everything below, so that something else can take its name. */
  replaceDirectory(path: ByteString): void {
    for (const key of [...this.#new.keys()]) if (key === path || key.startsWith(`${path}/`)) this.#new.delete(key);
    this.#replacedDirectories.add(path);
  }

  #touch(directory: ByteString): void {
    const own = this.#new.get(directory);
    if (own) own.node = { ...own.node, mtime: this.now };
    else this.#touched.add(directory);
  }

  /**
   * Makes `path` and what is missing above it. `path` has its links already resolved.
   * @returns the directories that were made
   * @throws AegisError NOT_A_DIRECTORY
   */
  async mkdirAll(path: ByteString, mode: number, owner: Owner): Promise<readonly ByteString[]> {
    const made: ByteString[] = [];
    let at = "" as ByteString;
    for (const part of path === "" ? [] : path.split("/")) {
      at = joinPath(at, part);
      const node = await this.lstat(at);
      if (node?.type === "directory") continue;
      if (node) throw notDirectory(at);
      this.put(at, {
        node: { type: "directory", mode, uid: owner.uid, gid: owner.gid, mtime: this.now, size: 0 },
        content: undefined,
      });
      made.push(at);
    }
    return made;
  }

  /** Writes the layer's entries. */
  async emit(sink: TreeSink): Promise<void> {
    const emitted = new Set<ByteString>();
    const firstName = new Map<NewFile, ByteString>();
    const walk = [...this.#new].map(([path, file]) => ({ path, file, key: path.replaceAll("/", "\0") }));
    walk.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    for (const { path, file } of walk) {
      if (path === "") continue;
      if (!this.#replacedDirectories.has(path) && (await this.#unchanged(path, file))) continue;
      await this.#emitParents(path, sink, emitted);
      const link = firstName.get(file);
      if (link !== undefined && file.node.type !== "directory") {
        sink.entry({ ...entryOf(path, file.node), type: "hardlink", size: 0, linkTarget: link });
        continue;
      }
      firstName.set(file, path);
      sink.entry(entryOf(path, file.node));
      emitted.add(path);
      if (file.node.type === "file" && file.content) await copyContent(file.content, sink);
    }
  }

  async #emitParents(path: ByteString, sink: TreeSink, emitted: Set<ByteString>): Promise<void> {
    const parent = parentOf(path);
    if (parent === "" || emitted.has(parent)) return;
    await this.#emitParents(parent, sink, emitted);
    const node = (await this.lstat(parent)) ?? rootNode;
    emitted.add(parent);
    sink.entry(
      entryOf(parent, this.#touched.has(parent) && !this.#new.has(parent) ? { ...node, mtime: this.now } : node),
    );
  }

  /** As the reference's differ sees it: same inode data, and same content where times can't tell. */
  async #unchanged(path: ByteString, file: NewFile): Promise<boolean> {
    const old = await this.parent.lstat(path);
    const { node } = file;
    if (!old || old.type !== node.type || old.mode !== node.mode || old.uid !== node.uid || old.gid !== node.gid) {
      return false;
    }
    if (node.type === "directory") return true;
    if (old.devMajor !== node.devMajor || old.devMinor !== node.devMinor) return false;
    // Layers carry whole seconds, so an older name may have lost its nanoseconds.
    if (old.mtime.sec !== node.mtime.sec || (old.mtime.nsec !== 0 && old.mtime.nsec !== node.mtime.nsec)) return false;
    if (node.type === "symlink") return old.linkTarget === node.linkTarget;
    if (node.type !== "file") return true;
    if (old.size !== node.size || !file.content) return false;
    if (node.size === 0) return true;
    const before = await contentDigest({ kind: "view", view: this.parent, path });
    return before === (await contentDigest(file.content));
  }
}

export function notDirectory(path: ByteString): AegisError {
  return new AegisError("NOT_A_DIRECTORY", `/${decodeText(path)} is in the way: it is not a directory`, {
    hint: "choose another destination, or remove the file in an earlier RUN",
  });
}

function entryOf(path: ByteString, node: TreeNode): TreeEntry {
  return {
    path,
    type: node.type,
    mode: node.mode,
    uid: node.uid,
    gid: node.gid,
    mtime: node.mtime,
    size: node.type === "file" ? node.size : 0,
    linkTarget: node.linkTarget,
    devMajor: node.devMajor,
    devMinor: node.devMinor,
    xattrs: node.xattrs,
  };
}

/** Pushes the bytes. */
export async function copyContent(content: Content, sink: TreeSink): Promise<void> {
  if (content.kind === "view") return await content.view.read(content.path, sink);
  if (content.kind === "spool") return await content.read(sink);
  if (content.bytes.length > 0) sink.data(content.bytes);
  await sink.drain();
}

const zeros = Buffer.alloc(1 << 16);

/** sha256 of a file's content, holes counted as zeros. */
export async function contentDigest(content: Content): Promise<string> {
  const hash = createHash("sha256");
  await copyContent(content, {
    entry: () => undefined,
    data: (chunk) => void hash.update(chunk),
    hole: (length) => {
      for (let left = length; left > 0; left -= zeros.length)
        hash.update(zeros.subarray(0, Math.min(left, zeros.length)));
    },
    drain: () => undefined,
  });
  return hash.digest("hex");
}

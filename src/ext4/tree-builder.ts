/**
 * The file tree under construction and the rules by which later entries replace earlier ones: the last one wins, a
 * directory over a directory keeps its children, anything else takes the old name's place. Layers matter in two ways: a
 * whiteout removes only what came from earlier layers, and a symlink in a parent's place is followed only within the
 * layer that made it, as if each layer were unpacked into a directory of its own.
 */
import type { ByteString } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { Timespec } from "../support/tree.js";
import type { BlockAllocator } from "./allocator.js";
import { MAX_NAME_LENGTH } from "./directory.js";
import { clampTime, fileMode, MAX_LINKS, ROOT_INODE } from "./inode.js";
import type { InodeStore } from "./inode-store.js";
import type { Namespace } from "./namespace.js";

/** Symlinks followed for one path before it counts as a loop, as in the kernel. */
const MAX_SYMLINKS = 40;
const MAX_CACHED_DIRECTORIES = 4096;

export interface Attributes {
  /** With the file type bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timespec;
  readonly xattrs: number;
}

export class TreeBuilder {
  layer = 0;
  /** Inode numbers by directory path: entries come in runs with the same parent. */
  readonly #directories = new Map<string, number>();

  constructor(
    readonly names: Namespace,
    readonly inodes: InodeStore,
    readonly blocks: BlockAllocator,
  ) {}

  /** Sets what the superblock needs of the root before anything is pushed. */
  begin(mtime: Timespec): void {
    this.setAttributes(ROOT_INODE, { mode: fileMode.directory | 0o755, uid: 0, gid: 0, mtime, xattrs: 0 });
    this.inodes.payload[ROOT_INODE] = ROOT_INODE;
    this.inodes.links[ROOT_INODE] = 2;
  }

  isDirectory(inode: number): boolean {
    return (this.inodes.mode[inode]! & fileMode.mask) === fileMode.directory;
  }

  /** The inode at a path, symlinks not followed; 0 if there is none. */
  find(path: string): number {
    if (path === "") return ROOT_INODE;
    const entry = this.findEntry(path);
    return entry === 0 ? 0 : this.names.inode[entry]!;
  }

  /** The entry at a path other than the root's; 0 if there is none. */
  findEntry(path: string): number {
    let directory = ROOT_INODE;
    for (let start = 0; ; ) {
      const slash = path.indexOf("/", start);
      const entry = this.names.lookup(directory, path, start, slash < 0 ? path.length : slash);
      if (slash < 0 || entry === 0) return entry;
      directory = this.names.inode[entry]!;
      if (!this.isDirectory(directory)) return 0;
      start = slash + 1;
    }
  }

  symlinkTarget(inode: number): ByteString {
    return this.inodes.targets
      .bytes(this.inodes.payload[inode]!, this.inodes.size[inode]!)
      .toString("latin1") as ByteString;
  }

  /** Makes `path` a directory with these attributes, or gives them to the directory that is there. */
  putDirectory(path: ByteString, attributes: Attributes): number {
    if (path === "") {
      this.setAttributes(ROOT_INODE, attributes);
      return ROOT_INODE;
    }
    const { parent, start } = this.#parentOf(path, attributes.mtime);
    const entry = this.names.lookup(parent, path, start);
    const existing = entry === 0 ? 0 : this.names.inode[entry]!;
    if (existing !== 0 && this.isDirectory(existing)) {
      this.names.layer[entry] = this.layer;
      this.setAttributes(existing, attributes);
      return existing;
    }
    if (entry !== 0) this.#removeEntry(entry);
    return this.#makeDirectory(parent, path, start, path.length, attributes);
  }

  /** Makes the empty directory for what e2fsck finds, with an inode number set apart for it. */
  putLostFound(name: ByteString, inode: number, mtime: Timespec): void {
    this.#initDirectory(inode, ROOT_INODE, { mode: fileMode.directory | 0o700, uid: 0, gid: 0, mtime, xattrs: 0 });
    this.names.add(ROOT_INODE, name, 0, name.length, inode, this.layer);
  }

  /** Makes a new inode that isn't a directory at `path`, in place of what is there. */
  putNode(path: ByteString, attributes: Attributes, size: number, payload: number): number {
    const { parent, start } = this.#parentOf(path, attributes.mtime);
    const entry = this.names.lookup(parent, path, start);
    if (entry !== 0) this.#removeEntry(entry);
    const inode = this.inodes.allocate();
    this.setAttributes(inode, attributes);
    this.inodes.links[inode] = 1;
    this.inodes.size[inode] = size;
    this.inodes.payload[inode] = payload;
    this.inodes.extentCount[inode] = 0;
    this.names.add(parent, path, start, path.length, inode, this.layer);
    return inode;
  }

  /** Makes `path` another name of the inode at `target`. */
  putLink(path: ByteString, target: ByteString, mtime: Timespec): void {
    const inode = this.#linkTarget(target);
    if (inode === 0 || this.isDirectory(inode)) {
      throw new AegisError(
        "EXT4_LINK_TARGET",
        `the hard link "${path}" leads to "${target}", which is not a file pushed before`,
      );
    }
    if (this.inodes.links[inode]! >= MAX_LINKS) {
      throw new AegisError("EXT4_TOO_MANY_LINKS", `"${target}" has more than ${MAX_LINKS} hard links`, {
        hint: "ext4 allows no more; copy the file instead of linking it",
      });
    }
    // Counted before anything is replaced: the target may be in the new name's way, or below it.
    this.inodes.links[inode]!++;
    const { parent, start } = this.#parentOf(path, mtime);
    const entry = this.names.lookup(parent, path, start);
    if (entry !== 0) this.#removeEntry(entry);
    this.names.add(parent, path, start, path.length, inode, this.layer);
  }

  /** Removes a path and all below it; the root loses its children. */
  remove(path: ByteString): void {
    if (path === "") {
      for (const entry of this.#children(ROOT_INODE)) this.#removeEntry(entry);
      return;
    }
    const entry = this.findEntry(path);
    if (entry !== 0) this.#removeEntry(entry);
  }

  /** Removes what earlier layers put at and below `path`; directories that still hold something of this layer stay. */
  removeLower(path: ByteString, options: { readonly keepSelf: boolean }): void {
    const top = path === "" ? 0 : this.findEntry(path);
    if (path !== "" && top === 0) return;
    const inode = path === "" ? ROOT_INODE : this.names.inode[top]!;
    const kept: number[] = this.isDirectory(inode) ? this.#removeLowerFiles(inode) : [];
    for (const entry of kept.reverse()) {
      const isEmpty = this.names.firstEntry(this.names.inode[entry]!) === 0;
      if (isEmpty && this.names.layer[entry]! < this.layer) this.#removeEntry(entry);
    }
    if (options.keepSelf || top === 0 || this.names.layer[top]! >= this.layer) return;
    if (!this.isDirectory(inode) || this.names.firstEntry(inode) === 0) this.#removeEntry(top);
  }

  setAttributes(inode: number, { mode, uid, gid, mtime, xattrs }: Attributes): void {
    const { sec, nsec } = clampTime(mtime);
    this.inodes.mode[inode] = mode;
    this.inodes.uid[inode] = uid;
    this.inodes.gid[inode] = gid;
    this.inodes.seconds[inode] = sec;
    this.inodes.nanoseconds[inode] = nsec;
    this.inodes.xattrs[inode] = xattrs;
  }

  /** Removes earlier layers' files below a directory; gives the directories below it, parents first. */
  #removeLowerFiles(directory: number): number[] {
    const directories: number[] = [];
    for (let next = -1, current = directory; ; current = this.names.inode[directories[next]!]!) {
      for (const entry of this.#children(current)) {
        if (this.isDirectory(this.names.inode[entry]!)) directories.push(entry);
        else if (this.names.layer[entry]! < this.layer) this.#removeEntry(entry);
      }
      if (++next === directories.length) return directories;
    }
  }

  #makeDirectory(parent: number, path: string, start: number, end: number, attributes: Attributes): number {
    const inode = this.inodes.allocate();
    this.#initDirectory(inode, parent, attributes);
    this.names.add(parent, path, start, end, inode, this.layer);
    return inode;
  }

  #initDirectory(inode: number, parent: number, attributes: Attributes): void {
    this.setAttributes(inode, attributes);
    this.inodes.links[inode] = 2;
    this.inodes.payload[inode] = parent;
    this.inodes.extentCount[inode] = 0;
    this.inodes.links[parent]!++;
  }

  /** The directory that holds `path`'s last component; what is missing is made, owned by root, mode 0755. */
  #parentOf(path: string, mtime: Timespec): { parent: number; start: number } {
    const slash = path.lastIndexOf("/");
    checkName(path, slash + 1, path.length);
    if (slash < 0) return { parent: ROOT_INODE, start: 0 };
    const key = path.slice(0, slash);
    const known = this.#directories.get(key);
    if (known !== undefined) return { parent: known, start: slash + 1 };
    let directory = ROOT_INODE;
    for (let start = 0; start <= slash; ) {
      const end = path.indexOf("/", start);
      checkName(path, start, end);
      directory = this.#enter(directory, path, start, end, mtime);
      start = end + 1;
    }
    if (this.#directories.size >= MAX_CACHED_DIRECTORIES) this.#directories.clear();
    this.#directories.set(key, directory);
    return { parent: directory, start: slash + 1 };
  }

  /** What a hard link leads to: symlinks are followed before the last component. 0 if there is nothing. */
  #linkTarget(path: string): number {
    const slash = path.lastIndexOf("/");
    const directory = slash < 0 ? ROOT_INODE : this.#walk(ROOT_INODE, path.slice(0, slash));
    const entry = directory === 0 ? 0 : this.names.lookup(directory, path, slash + 1);
    return entry === 0 ? 0 : this.names.inode[entry]!;
  }

  #enter(directory: number, path: string, start: number, end: number, mtime: Timespec): number {
    const entry = this.names.lookup(directory, path, start, end);
    if (entry !== 0) {
      const inode = this.names.inode[entry]!;
      if (this.isDirectory(inode)) return inode;
      const followed = this.names.layer[entry] === this.layer ? this.#walk(directory, path.slice(start, end)) : 0;
      if (followed !== 0) return followed;
      this.#removeEntry(entry);
    }
    const attributes = { mode: fileMode.directory | 0o755, uid: 0, gid: 0, mtime, xattrs: 0 };
    return this.#makeDirectory(directory, path, start, end, attributes);
  }

  /** The directory that a path leads to from another one, never out of this tree; 0 if it leads to none. */
  #walk(from: number, path: string): number {
    let budget = MAX_SYMLINKS;
    let at = from;
    const todo = path.split("/").reverse();
    while (todo.length > 0) {
      const name = todo.pop()!;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        at = this.inodes.payload[at]!;
        continue;
      }
      const entry = this.names.lookup(at, name);
      const inode = entry === 0 ? 0 : this.names.inode[entry]!;
      const type = inode === 0 ? 0 : this.inodes.mode[inode]! & fileMode.mask;
      if (type === fileMode.directory) {
        at = inode;
        continue;
      }
      if (type !== fileMode.symlink || budget-- === 0) return 0;
      const target = this.symlinkTarget(inode);
      if (target.startsWith("/")) at = ROOT_INODE;
      for (const part of target.split("/").reverse()) todo.push(part);
    }
    return at;
  }

  #children(directory: number): number[] {
    const entries: number[] = [];
    for (let entry = this.names.firstEntry(directory); entry !== 0; entry = this.names.next[entry]!)
      entries.push(entry);
    return entries;
  }

  /** Removes a name with everything below it. */
  #removeEntry(entry: number): void {
    const doomed = [entry];
    for (let i = 0; i < doomed.length; i++) {
      const inode = this.names.inode[doomed[i]!]!;
      if (this.isDirectory(inode)) for (const child of this.#children(inode)) doomed.push(child);
    }
    for (const item of doomed.reverse()) this.#unlink(item);
  }

  #unlink(entry: number): void {
    const inode = this.names.inode[entry]!;
    const parent = this.names.directory[entry]!;
    this.names.remove(entry);
    const type = this.inodes.mode[inode]! & fileMode.mask;
    if (type === fileMode.directory || type === fileMode.symlink) this.#directories.clear();
    if (type === fileMode.directory) {
      this.inodes.links[parent]!--;
      this.inodes.release(inode);
      return;
    }
    if (--this.inodes.links[inode]! > 0) return;
    for (const { physical, length } of this.inodes.extents(inode)) this.blocks.release({ start: physical, length });
    this.inodes.release(inode);
  }
}

function checkName(path: string, start: number, end: number): void {
  const length = end - start;
  const isDots = path[start] === "." && (length === 1 || (length === 2 && path[start + 1] === "."));
  if (length < 1 || isDots || path.slice(start, end).includes("\0")) {
    throw new AegisError("EXT4_BAD_PATH", `"${path}" is not a relative path without empty, "." and ".." components`);
  }
  if (length > MAX_NAME_LENGTH) {
    throw new AegisError("EXT4_NAME_TOO_LONG", `a name in "${path}" is longer than ${MAX_NAME_LENGTH} bytes`);
  }
}

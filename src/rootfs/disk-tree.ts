/** An ext4 disk as a tree: look-ups by exact path, directories remembered, the disk itself never trusted. */
import { closeSync, openSync } from "node:fs";
import { type Ext4Inode, type Ext4Reader, openExt4 } from "../ext4/index.js";
import type { ByteString } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { TreeEntry, TreeSink } from "../support/tree.js";
import { splitPath } from "../support/tree-paths.js";
import type { LowerTree } from "./merge.js";

import { byBytes } from "./overlay.js";
import type { OpenTreeView, ViewNode } from "./view.js";

/** A disk serves both as a tree to merge over, which answers at once, and as a view. */
export interface DiskTree extends Disposable {
  readonly lower: LowerTree;
  readonly view: OpenTreeView;
}

export interface DiskTreeOptions {
  /** The directory that stands for the root; the disk's own root unless told. */
  readonly top?: ByteString | undefined;
}

const rootInode = 2;
/** The inode that ext4 sets apart for its own /lost+found; one that an image brought along has another. */
const lostFoundInode = 11;
const lostFound = "lost+found";
/** Names of directories kept in memory, in all; and the most that one directory may have. */
const maxNames = 1 << 20;
const maxDirectoryNames = 1 << 22;

/**
 * Opens a disk for reading.
 * @throws AegisError EXT4_CORRUPT, EXT4_UNSUPPORTED; so do the tree's methods
 */
export function openDisk(file: string, options: DiskTreeOptions = {}): DiskTree {
  const fd = openSync(file, "r");
  let open = true;
  const close = () => {
    if (open) closeSync(fd);
    open = false;
  };
  try {
    return { ...diskTree(openExt4({ fd }), options.top ?? ("" as ByteString), close), [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

function diskTree(reader: Ext4Reader, top: ByteString, close: () => void): Omit<DiskTree, typeof Symbol.dispose> {
  /** Inode numbers by name, by directory inode. */
  const directories = new Map<number, ReadonlyMap<string, number>>();
  let names = 0;
  /** Where each directory was met: a hostile disk may give one several names, and walks would never end. */
  const places = new Map<number, ByteString>();

  function namesIn(directory: Ext4Inode, path: ByteString): ReadonlyMap<string, number> {
    const place = places.get(directory.number);
    if (place === undefined) places.set(directory.number, path);
    else if (place !== path) throw corrupt(`directory ${directory.number} has more than one name`);
    const known = directories.get(directory.number);
    if (known) return known;
    const found = new Map<string, number>();
    for (const { name, inode } of reader.readdir(directory)) {
      if (directory.number !== rootInode || name !== lostFound || inode !== lostFoundInode) found.set(name, inode);
      if (found.size > maxDirectoryNames) throw corrupt(`directory ${directory.number} has too many names`);
    }
    if (names > maxNames) {
      directories.clear();
      names = 0;
    }
    directories.set(directory.number, found);
    names += found.size;
    return found;
  }

  /** The directory of the look-up before: most ask for the same again. */
  let last: { readonly path: ByteString; readonly inode: Ext4Inode | undefined } | undefined;

  function inodeAt(path: ByteString): Ext4Inode | undefined {
    if (path === "") return top === "" ? reader.stat(rootInode) : reader.lookup(top);
    const [directory, name] = splitPath(path);
    if (last?.path !== directory) last = { path: directory, inode: inodeAt(directory) };
    const parent = last.inode;
    if (parent?.type !== "directory") return undefined;
    const number = namesIn(parent, directory).get(name);
    return number === undefined ? undefined : reader.stat(number);
  }

  function entryOf(path: ByteString, inode: Ext4Inode): TreeEntry | undefined {
    const { type } = inode;
    if (type === "socket") return undefined;
    const xattrs = reader.xattrs(inode);
    const { mode, uid, gid, mtime, devMajor, devMinor } = inode;
    return {
      path,
      type,
      mode,
      uid,
      gid,
      mtime,
      size: type === "file" ? inode.size : 0,
      linkTarget: type === "symlink" ? reader.symlinkTarget(inode) : undefined,
      devMajor,
      devMinor,
      xattrs: xattrs.size > 0 ? xattrs : undefined,
    };
  }

  function lookup(path: ByteString): ViewNode | undefined {
    const inode = inodeAt(path);
    const entry = inode && entryOf(path, inode);
    return entry && { entry, identity: String(inode.number), links: inode.links };
  }

  async function copyContent(path: ByteString, sink: TreeSink): Promise<void> {
    const inode = inodeAt(path);
    if (inode?.type !== "file") return;
    for (const piece of reader.content(inode)) {
      if ("hole" in piece) sink.hole(piece.hole);
      else sink.data(piece.data);
      await sink.drain();
    }
  }

  return {
    lower: { lookup: (path) => lookup(path)?.entry, copyContent },
    view: {
      lookup: async (path) => lookup(path),
      async list(path) {
        const inode = inodeAt(path);
        return inode?.type === "directory" ? ([...namesIn(inode, path).keys()] as ByteString[]).sort(byBytes) : [];
      },
      copyContent,
      [Symbol.asyncDispose]: async () => close(),
    },
  };
}

const corrupt = (what: string): AegisError =>
  new AegisError("EXT4_CORRUPT", `the disk's filesystem is damaged: ${what}`, {
    hint: "if a guest wrote the disk, its content can't be trusted; recreate it from its image",
  });

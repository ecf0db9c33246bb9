/** A file tree in memory that takes entries and answers look-ups: stands for a disk, and for the model of one. */
import { digestOf } from "../../src/oci/digests.js";
import type { TreeView } from "../../src/rootfs/view.js";
import { type ByteString, encodeText } from "../../src/support/brands.js";
import type { TreeEntry, TreeSink } from "../../src/support/tree.js";

interface MemoryInode {
  entry: Omit<TreeEntry, "path">;
  content: Buffer;
}

export class MemoryTree implements TreeSink {
  readonly #inodes = new Map<ByteString, MemoryInode>();
  #filling: MemoryInode | undefined;

  constructor() {
    const root = { type: "directory", mode: 0o755, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 }, size: 0 } as const;
    this.#inodes.set("" as ByteString, { entry: root, content: Buffer.alloc(0) });
  }

  /** As a disk takes it: a directory over a directory keeps its children, anything else replaces what is there. */
  entry({ path, ...entry }: TreeEntry): void {
    const slash = path.lastIndexOf("/");
    const parent = this.#inodes.get(path.slice(0, Math.max(slash, 0)) as ByteString);
    if (parent?.entry.type !== "directory") throw new Error(`the parent of ${path} is no directory`);
    const before = this.#inodes.get(path);
    this.#filling = undefined;
    if (entry.type === "hardlink") {
      const target = this.#inodes.get(entry.linkTarget!);
      if (!target || target.entry.type === "directory")
        throw new Error(`${path} links to nothing at ${entry.linkTarget}`);
      if (before) throw new Error(`${path} is there already`);
      this.#inodes.set(path, target);
      return;
    }
    if (before && !(before.entry.type === "directory" && entry.type === "directory") && entry.type !== "char") {
      throw new Error(`${path} is there already`);
    }
    const inode = { entry, content: Buffer.alloc(0) };
    this.#inodes.set(path, inode);
    if (entry.type === "file") this.#filling = inode;
  }

  data(chunk: Uint8Array): void {
    if (!this.#filling) throw new Error("content without a file");
    this.#filling.content = Buffer.concat([this.#filling.content, chunk]);
  }

  hole(length: number): void {
    this.data(Buffer.alloc(length));
  }

  drain(): undefined {
    return undefined;
  }

  remove(path: ByteString): void {
    if (!this.#inodes.has(path)) throw new Error(`${path} is not there to be removed`);
    for (const name of [...this.#inodes.keys()]) {
      if (name === path || name.startsWith(`${path}/`)) this.#inodes.delete(name);
    }
  }

  lookup(path: ByteString): TreeEntry | undefined {
    const inode = this.#inodes.get(path);
    return inode && { path, ...inode.entry };
  }

  async copyContent(path: ByteString, sink: TreeSink): Promise<void> {
    const { content } = this.#inodes.get(path)!;
    if (content.length > 0) sink.data(content);
  }

  /** All paths of the file at `path`. */
  namesOf(path: ByteString): ByteString[] {
    const inode = this.#inodes.get(path);
    return this.paths().filter((name) => this.#inodes.get(name) === inode);
  }

  contentOf(path: ByteString): Buffer {
    return this.#inodes.get(path)!.content;
  }

  paths(): ByteString[] {
    return [...this.#inodes.keys()].sort();
  }

  /** What a kernel shows with this tree as an overlay over `lower`. */
  over(lower: MemoryTree): MemoryTree {
    const merged = new MemoryTree();
    const visit = (path: ByteString, up: MemoryInode | undefined, low: MemoryInode | undefined) => {
      const shown = up ?? low!;
      if (isWhiteout(shown.entry)) return;
      merged.#inodes.set(path, withoutOpaque(shown));
      if (shown.entry.type !== "directory") return;
      const opaque = up?.entry.xattrs?.has("trusted.overlay.opaque");
      const lowDirectory = low?.entry.type === "directory" && !opaque;
      const names = new Set([...(up ? this.children(path) : []), ...(lowDirectory ? lower.children(path) : [])]);
      for (const name of names) {
        const child = (path === "" ? name : `${path}/${name}`) as ByteString;
        visit(child, up && this.#inodes.get(child), lowDirectory ? lower.#inodes.get(child) : undefined);
      }
    };
    const root = "" as ByteString;
    visit(root, this.#inodes.get(root), lower.#inodes.get(root));
    return merged;
  }

  children(path: ByteString): ByteString[] {
    const prefix = path === "" ? "" : `${path}/`;
    return [...this.#inodes.keys()]
      .filter((name) => name !== "" && name.startsWith(prefix) && !name.slice(prefix.length).includes("/"))
      .map((name) => name.slice(prefix.length) as ByteString);
  }

  /** Comparable lines, one a path; the names of one inode share a number. */
  listing(): string[] {
    const numbers = new Map<MemoryInode, number>();
    return this.paths().map((path) => {
      const inode = this.#inodes.get(path)!;
      if (!numbers.has(inode)) numbers.set(inode, numbers.size);
      const { type, mode, uid, gid, mtime, linkTarget, xattrs } = inode.entry;
      const attributes = [...(xattrs ?? [])].map(([name, value]) => `${name}=${Buffer.from(value).toString("hex")}`);
      return [
        `/${path}`,
        type,
        mode.toString(8),
        `${uid}:${gid}`,
        `${mtime.sec}.${mtime.nsec}`,
        linkTarget ?? "",
        attributes.sort().join(","),
        inode.content.length < 200 ? inode.content.toString("latin1") : digestOf(inode.content),
        type === "directory" ? "" : `#${numbers.get(inode)}`,
      ].join(" ");
    });
  }
}

export const bytePath = (text: string): ByteString => encodeText(text);

const isWhiteout = (entry: Omit<TreeEntry, "path">): boolean =>
  entry.type === "char" && !entry.devMajor && !entry.devMinor;

function withoutOpaque(inode: MemoryInode): MemoryInode {
  if (!inode.entry.xattrs?.has("trusted.overlay.opaque")) return inode;
  const xattrs = new Map([...inode.entry.xattrs].filter(([name]) => name !== "trusted.overlay.opaque"));
  return { ...inode, entry: { ...inode.entry, xattrs: xattrs.size > 0 ? xattrs : undefined } };
}

/** The tree as a read-only view. */
export function viewOf(tree: MemoryTree): TreeView {
  return {
    async lookup(path) {
      const entry = tree.lookup(path);
      const names = tree.namesOf(path);
      return entry && { entry, identity: names[0] ?? path, links: names.length };
    },
    list: async (path) => tree.children(path).sort(),
    copyContent: async (path, sink) => await tree.copyContent(path, sink),
  };
}

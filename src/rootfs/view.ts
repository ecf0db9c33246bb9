/**
 * Read-only views of file trees: one disk, several as an overlay shows them, a directory of the host. They answer by exact
 * path; `resolvePath` follows symlinks, always inside of the view's own root.
 */
import { type ByteString, decodeText, encodeText } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { TreeEntry, TreeSink } from "../support/tree.js";
import { followLinks, joinPath } from "../support/tree-paths.js";

export interface ViewNode {
  /** Never of type `hardlink`; `path` is the one asked for. */
  readonly entry: TreeEntry;
  /** Equal for the names of one file. */
  readonly identity: string;
  /** Names that the file has, as its filesystem counts them. */
  readonly links: number;
}

/** Paths are exact: no component may be a symlink. Sockets are not part of an image and never show. */
export interface TreeView {
  lookup(path: ByteString): Promise<ViewNode | undefined>;
  /** Names in the directory at `path`, sorted by their bytes; empty when it is none. */
  list(path: ByteString): Promise<readonly ByteString[]>;
  /** Pushes the content of the file at `path`: `data` and `hole` calls that add up to its size. */
  copyContent(path: ByteString, sink: TreeSink): Promise<void>;
}

export interface OpenTreeView extends TreeView, AsyncDisposable {}

/** As the kernel's MAXSYMLINKS. */
const maxLinks = 40;

/**
 * The exact path that `path` leads to, see `followLinks`; the last link is followed only with `follow`.
 * @throws AegisError PATH_LOOPS when there are too many symlinks
 */
export async function resolvePath(
  view: TreeView,
  path: ByteString,
  options: { readonly follow: boolean },
): Promise<ByteString> {
  const linkAt = async (at: ByteString) => (await view.lookup(at))?.entry.linkTarget;
  const found = await followLinks(linkAt, path, { mostLinks: maxLinks, followLast: options.follow });
  if (found !== undefined) return found;
  throw new AegisError("PATH_LOOPS", `"/${decodeText(path)}" has too many levels of symbolic links`);
}

/**
 * Pushes everything below `top` (the whole tree by default) into `sink`, parents first, names in byte order; later names
 * of one file become hard links. `sink` sees `top`'s own content at the root.
 */
export async function pushTree(view: TreeView, sink: TreeSink, top: ByteString = "" as ByteString): Promise<void> {
  const linked = new Map<string, ByteString>();
  const strip = top === "" ? 0 : top.length + 1;
  async function visit(path: ByteString): Promise<void> {
    const node = await view.lookup(path);
    if (!node) return;
    const { entry } = node;
    const out = path.slice(strip) as ByteString;
    const first = linked.get(node.identity);
    if (first !== undefined) {
      sink.entry({ ...entry, path: out, type: "hardlink", size: 0, linkTarget: first, xattrs: undefined });
      return;
    }
    if (node.links > 1 && entry.type !== "directory") linked.set(node.identity, out);
    sink.entry({ ...entry, path: out });
    if (entry.type === "file" && entry.size > 0) await view.copyContent(path, sink);
    await sink.drain();
    if (entry.type !== "directory") return;
    for (const name of await view.list(path)) await visit(joinPath(path, name));
  }
  await visit(top);
}

/**
 * Like `pushTree` for what is in the root directory, without the root directory itself. `under` names a directory that
 * everything is put into instead, and that is made first.
 */
export async function pushBelow(view: TreeView | undefined, sink: TreeSink, under = ""): Promise<void> {
  const top = encodeText(under);
  if (top !== "") sink.entry(directoryEntry(top));
  if (!view) return;
  const moved = (path: ByteString) => joinPath(top, path);
  await pushTree(view, {
    entry: (entry) => {
      if (entry.path === "") return;
      const target = entry.type === "hardlink" && entry.linkTarget !== undefined ? moved(entry.linkTarget) : undefined;
      sink.entry({ ...entry, path: moved(entry.path), ...(target === undefined ? {} : { linkTarget: target }) });
    },
    data: (chunk) => sink.data(chunk),
    hole: (length) => sink.hole(length),
    drain: () => sink.drain(),
  });
}

/** As the reference makes the directories of platforms. */
const directoryEntry = (path: ByteString): TreeEntry => ({
  path,
  type: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: { sec: 0, nsec: 0 },
});

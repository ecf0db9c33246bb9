/**
 * The entries of layers kept in memory by path, without content, so that the tree a stage has reached can be asked while it
 * is being built. OCI image spec, layer.md: whiteouts are `.wh.NAME`, opaque directories hold `.wh..wh..opq`.
 */
import { parseWhiteout } from "../../oci/whiteouts.js";
import type { ByteString } from "../../support/brands.js";
import type { TreeEntry, TreeSink } from "../../support/tree.js";
import { baseName, joinPath, parentOf } from "../../support/tree-paths.js";
import { rootNode, type TreeNode, type TreeView } from "./view.js";

/** Files whose content is asked for by steps that otherwise need no content (`--chown`, USER). */
const keptFiles: ReadonlySet<string> = new Set(["etc/passwd", "etc/group"]);
const keptSize = 1 << 20;

export class LayerIndex {
  readonly #entries = new Map<ByteString, TreeEntry>();
  readonly #children = new Map<ByteString, Set<ByteString>>();
  readonly #removed = new Set<ByteString>();
  readonly #opaque = new Set<ByteString>();
  readonly #contents = new Map<ByteString, readonly Buffer[]>();

  /** A sink that records entries and hands everything on to `next`. */
  recorder(next?: TreeSink): TreeSink {
    let keeping: Buffer[] | undefined;
    return {
      entry: (entry) => {
        this.add(entry);
        keeping = keptFiles.has(entry.path) && entry.type === "file" && entry.size <= keptSize ? [] : undefined;
        if (keeping) this.#contents.set(entry.path, keeping);
        next?.entry(entry);
      },
      data: (chunk) => {
        keeping?.push(Buffer.from(chunk));
        next?.data(chunk);
      },
      hole: (length) => {
        keeping?.push(Buffer.alloc(length));
        next?.hole(length);
      },
      drain: () => next?.drain(),
    };
  }

  /** Content of a file, for the few that are kept. */
  content(path: ByteString): readonly Buffer[] | undefined {
    return this.#contents.get(path);
  }

  add(entry: TreeEntry): void {
    const whiteout = parseWhiteout(entry.path);
    if (whiteout) (whiteout.kind === "opaque" ? this.#opaque : this.#removed).add(whiteout.path);
    else {
      this.#entries.set(entry.path, entry);
      this.#link(entry.path);
    }
  }

  #link(path: ByteString): void {
    for (let at = path; at !== ""; at = parentOf(at)) {
      const parent = parentOf(at);
      const siblings = this.#children.get(parent);
      if (siblings) {
        if (siblings.has(at)) return;
        siblings.add(at);
      } else this.#children.set(parent, new Set([at]));
    }
  }

  /** The layer's own word on a path: its entry, `hidden` when lower layers' is gone, undefined when lower layers decide. */
  get(path: ByteString): TreeEntry | "hidden" | "implied" | undefined {
    const own = this.#entries.get(path);
    if (own) return own;
    if (this.#removed.has(path)) return this.#children.has(path) ? "implied" : "hidden";
    if (path !== "" && this.hides(path)) return "hidden";
    return this.#children.has(path) ? "implied" : undefined;
  }

  /** True when something above `path` in this layer covers what lower layers have there. */
  hides(path: ByteString): boolean {
    if (this.#opaque.size === 0 && this.#removed.size === 0 && this.#entries.size === 0) return false;
    for (let at = parentOf(path); ; at = parentOf(at)) {
      if (this.#opaque.has(at) || this.#removed.has(at)) return true;
      const entry = this.#entries.get(at);
      if (entry && entry.type !== "directory") return true;
      if (at === "") return false;
    }
  }

  /** Whether a directory's lower content shows through. */
  transparent(path: ByteString): boolean {
    if (this.#opaque.has(path) || this.#removed.has(path)) return false;
    const entry = this.#entries.get(path);
    return (entry === undefined || entry.type === "directory") && !(path !== "" && this.hides(path));
  }

  children(path: ByteString): Iterable<ByteString> {
    return this.#children.get(path) ?? [];
  }

  removed(path: ByteString): boolean {
    return this.#removed.has(path);
  }
}

/**
 * The tree of `base` under layers, bottom first. The index holds next to no content: `read` fetches from elsewhere what
 * neither it nor `base` has.
 */
export function stackView(base: TreeView, layers: readonly LayerIndex[], read: TreeView["read"]): TreeView {
  const lstat = async (path: ByteString, top: number): Promise<TreeNode | undefined> => {
    let implied = false;
    for (let i = top; i >= 0; i--) {
      const layer = layers[i]!;
      const found = layer.get(path);
      if (found === "hidden") return implied ? rootNode : undefined;
      if (found === "implied") {
        implied = true;
        if (!layer.transparent(path)) return rootNode;
      } else if (found?.type === "hardlink") {
        // Its target is in this layer or below, whatever later layers made of that name.
        const target = found.linkTarget;
        return target === undefined || target === path ? undefined : await lstat(target, i);
      } else if (found) return { ...found, type: found.type };
    }
    return (await base.lstat(path)) ?? (implied ? rootNode : undefined);
  };
  const namesUpTo = async (path: ByteString, top: number): Promise<Set<ByteString>> => {
    if (top < 0) return new Set(await base.readdir(path));
    const layer = layers[top]!;
    const names = layer.transparent(path) ? await namesUpTo(path, top - 1) : new Set<ByteString>();
    for (const name of names) if (layer.removed(joinPath(path, name))) names.delete(name);
    for (const child of layer.children(path)) names.add(baseName(child));
    return names;
  };
  return {
    lstat: (path) => lstat(path, layers.length - 1),
    readdir: async (path) => {
      const node = await lstat(path, layers.length - 1);
      return node?.type === "directory" ? [...(await namesUpTo(path, layers.length - 1))] : [];
    },
    read: async (path, sink) => {
      for (let i = layers.length - 1; i >= 0; i--) {
        const kept = layers[i]!.content(path);
        if (kept) {
          for (const chunk of kept) sink.data(chunk);
          return;
        }
        if (layers[i]!.get(path) !== undefined) return await read(path, sink);
      }
      await base.read(path, sink);
    },
  };
}

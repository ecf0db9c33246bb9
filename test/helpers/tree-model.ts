/** What a stack of layers means, written down plainly: the yardstick for what the writer makes of random ones. */
import type { ByteString } from "../../src/support/brands.js";
import type { TreeEntry, TreeSink } from "../../src/support/tree.js";
import { TreeLines, treeEntry } from "./tree-lines.js";

export type Piece = { readonly data: Uint8Array } | { readonly hole: number };

interface Body {
  entry: TreeEntry;
  readonly pieces: readonly Piece[];
}
interface Node {
  /** Shared between hard links. */
  readonly body: Body;
  layer: number;
  readonly children: Map<string, Node> | undefined;
}

export class TreeModel {
  #layer = 0;
  readonly #root: Node = {
    body: { entry: treeEntry("", "directory", { mtime: { sec: 0, nsec: 0 } }), pieces: [] },
    layer: 0,
    children: new Map(),
  };

  beginLayer(): void {
    this.#layer++;
  }

  put(entry: TreeEntry, pieces: readonly Piece[]): void {
    const target = entry.type === "hardlink" ? this.find(entry.linkTarget!) : undefined;
    const at = this.#at(entry.path, entry);
    if (!at) {
      this.#root.body.entry = entry;
      return;
    }
    const { parent, name } = at;
    const old = parent.get(name);
    if (target) {
      parent.set(name, { body: target.body, layer: this.#layer, children: undefined });
    } else if (entry.type === "directory" && old?.children) {
      old.body.entry = entry;
      old.layer = this.#layer;
    } else {
      const children = entry.type === "directory" ? new Map<string, Node>() : undefined;
      parent.set(name, { body: { entry, pieces }, layer: this.#layer, children });
    }
  }

  remove(path: string): void {
    const at = path === "" ? undefined : this.#existing(path);
    if (at) at.parent.delete(at.name);
  }

  removeLower(path: string, keepSelf: boolean): void {
    const node = this.find(path);
    if (!node) return;
    const isEmpty = this.#removeLowerIn(node);
    if (path !== "" && !keepSelf && node.layer < this.#layer && isEmpty) this.remove(path);
  }

  find(path: string): Node | undefined {
    if (path === "") return this.#root;
    const at = this.#existing(path);
    return at?.parent.get(at.name);
  }

  /** Pushes the tree into `sink`, names in byte order. */
  emit(sink: TreeSink): void {
    const seen = new Map<Body, string>();
    const visit = (path: string, { body, children }: Node) => {
      const { entry } = body;
      const first = children ? undefined : seen.get(body);
      if (first !== undefined) {
        sink.entry({ ...entry, path: path as ByteString, type: "hardlink", size: 0, linkTarget: first as ByteString });
        return;
      }
      seen.set(body, path);
      sink.entry({ ...entry, path: path as ByteString });
      pushPieces(sink, body.pieces);
      const names = [...(children?.keys() ?? [])].sort();
      for (const name of names) visit(path === "" ? name : `${path}/${name}`, children!.get(name)!);
    };
    visit("", this.#root);
  }

  lines(): string[] {
    const sink = new TreeLines();
    this.emit(sink);
    return sink.lines();
  }

  /** True when nothing is left of a node but possibly itself. */
  #removeLowerIn(node: Node): boolean {
    for (const [name, child] of node.children ?? []) {
      if (this.#removeLowerIn(child) && child.layer < this.#layer) node.children!.delete(name);
    }
    return (node.children?.size ?? 0) === 0;
  }

  #existing(path: string): { parent: Map<string, Node>; name: string } | undefined {
    const names = path.split("/");
    let node: Node | undefined = this.#root;
    for (const name of names.slice(0, -1)) node = node?.children?.get(name);
    return node?.children?.has(names.at(-1)!) ? { parent: node.children, name: names.at(-1)! } : undefined;
  }

  #at(path: string, because: TreeEntry): { parent: Map<string, Node>; name: string } | undefined {
    if (path === "") return undefined;
    const names = path.split("/");
    let node = this.#root;
    for (const name of names.slice(0, -1)) {
      let next = node.children!.get(name);
      if (!next?.children) {
        const entry = treeEntry("", "directory", { mtime: because.mtime });
        next = { body: { entry, pieces: [] }, layer: this.#layer, children: new Map() };
        node.children!.set(name, next);
      }
      node = next;
    }
    return { parent: node.children!, name: names.at(-1)! };
  }
}

export function pushPieces(sink: TreeSink, pieces: readonly Piece[]): void {
  for (const piece of pieces) {
    if ("hole" in piece) sink.hole(piece.hole);
    else sink.data(piece.data);
  }
}

export const sizeOf = (pieces: readonly Piece[]): number =>
  pieces.reduce((sum, piece) => sum + ("hole" in piece ? piece.hole : piece.data.length), 0);

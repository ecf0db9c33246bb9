/**
 * The names of a stack of layers while it is being merged: what is there, since which layer, and whether what the disk
 * below has at the same place still shows through. It holds no content and knows no disk format.
 */
import type { ByteString } from "../support/brands.js";
import type { TreeEntry } from "../support/tree.js";
import { joinPath } from "../support/tree-paths.js";

/** `gone` stands for a name of the disk below that a layer removed. */
export type NodeKind = "directory" | "symlink" | "other" | "gone";

export interface MergeNode {
  readonly name: ByteString;
  readonly parent: MergeNode | undefined;
  kind: NodeKind;
  /** Index of the layer that set it last. */
  layer: number;
  /** What the disk below has at this place is hidden. */
  cut: boolean;
  /** Directories. */
  children: Map<ByteString, MergeNode> | undefined;
  /** Directories: as pushed last, without the path, so that an opaque mark can be added afterwards. */
  entry: TreeEntry | undefined;
  /** Symlinks. */
  target: ByteString | undefined;
}

export function createRoot(): MergeNode {
  return {
    name: "" as ByteString,
    parent: undefined,
    kind: "directory",
    layer: -1,
    cut: false,
    children: new Map(),
    entry: undefined,
    target: undefined,
  };
}

export function addChild(parent: MergeNode, name: ByteString, kind: NodeKind, layer: number): MergeNode {
  const node: MergeNode = {
    name,
    parent,
    kind,
    layer,
    cut: false,
    children: undefined,
    entry: undefined,
    target: undefined,
  };
  parent.children!.set(name, node);
  return node;
}

export const childOf = (parent: MergeNode, name: ByteString): MergeNode | undefined => parent.children?.get(name);

export function pathOf(node: MergeNode): ByteString {
  if (!node.parent) return "" as ByteString;
  return joinPath(pathOf(node.parent), node.name);
}

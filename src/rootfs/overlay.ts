/** Several trees as the kernel's overlay shows them. Kernel docs: filesystems/overlayfs.rst. */
import type { ByteString } from "../support/brands.js";
import type { TreeSink } from "../support/tree.js";
import { joinPath, splitPath } from "../support/tree-paths.js";

import { isOpaque, isWhiteout, withoutOverlayXattrs } from "./overlay-marks.js";
import type { TreeView, ViewNode } from "./view.js";

/** One name's standing in the stack: the trees that make it up, top first. */
interface Stacked {
  readonly node: ViewNode;
  /** Index of the tree that `node` is from. */
  readonly top: number;
  /** Directories: every tree that contributes to it, top first. */
  readonly merged: readonly number[];
}

/** Directories remembered, so that a walk does not look each one's parents up again. */
const maxRemembered = 20_000;

/** `trees` bottom first. The view does not own them. */
export function overlayView(trees: readonly TreeView[]): TreeView {
  const directories = new Map<ByteString, Stacked | undefined>();

  async function stackAt(path: ByteString): Promise<Stacked | undefined> {
    if (directories.has(path)) return directories.get(path);
    const candidates =
      path === "" ? trees.map((_, i) => i).reverse() : ((await stackAt(splitPath(path)[0]))?.merged ?? []);
    const found = await stackIn(candidates, path);
    if (found === undefined || found.node.entry.type === "directory") {
      if (directories.size >= maxRemembered) directories.clear();
      directories.set(path, found);
    }
    return found;
  }

  /** Looks `path` up in the trees whose parent directories are merged there. */
  async function stackIn(candidates: readonly number[], path: ByteString): Promise<Stacked | undefined> {
    let top: { node: ViewNode; index: number } | undefined;
    const merged: number[] = [];
    for (const index of candidates) {
      const node = await trees[index]!.lookup(path);
      if (!node) continue;
      if (isWhiteout(node.entry)) break;
      if (node.entry.type !== "directory") {
        top ??= { node, index };
        break;
      }
      top ??= { node, index };
      merged.push(index);
      if (isOpaque(node.entry)) break;
    }
    return top && { node: shown(top.node, top.index), top: top.index, merged };
  }

  return {
    lookup: async (path) => (await stackAt(path))?.node,
    async list(path) {
      const stack = await stackAt(path);
      const names = new Set<ByteString>();
      const hidden = new Set<ByteString>();
      for (const index of stack?.merged ?? []) {
        const tree = trees[index]!;
        const own = await tree.list(path);
        for (const name of own) {
          if (names.has(name) || hidden.has(name)) continue;
          const node = await tree.lookup(joinPath(path, name));
          if (node && isWhiteout(node.entry)) hidden.add(name);
          else if (node) names.add(name);
        }
      }
      return [...names].sort(byBytes);
    },
    async copyContent(path: ByteString, sink: TreeSink) {
      const stack = await stackAt(path);
      if (stack) await trees[stack.top]!.copyContent(path, sink);
    },
  };
}

/** Byte order of names; both are strings of bytes, so code units decide. */
export const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Entry without what the overlay keeps for itself; identities of different trees never meet. */
function shown({ entry, identity, links }: ViewNode, tree: number): ViewNode {
  return { entry: withoutOverlayXattrs(entry), identity: `${tree}/${identity}`, links };
}

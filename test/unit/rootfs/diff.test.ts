import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { changesOf, diffUpper } from "../../../src/rootfs/diff.js";
import { LayerMerger } from "../../../src/rootfs/merge.js";
import { overlayView } from "../../../src/rootfs/overlay.js";
import { pushTree, resolvePath } from "../../../src/rootfs/view.js";
import type { TreeEntry, TreeSink } from "../../../src/support/tree.js";
import { type Layer, layerStacks, modelOf, pushLayer } from "../../helpers/layer-stacks.js";
import { bytePath, MemoryTree, viewOf } from "../../helpers/memory-tree.js";

/** An upper directory as the kernel would leave it after the layers' changes. */
async function upperOf(layers: readonly Layer[], lower: MemoryTree): Promise<MemoryTree> {
  const upper = new MemoryTree();
  const merger = new LayerMerger(upper, lower);
  for (const layer of layers) {
    merger.beginLayer();
    pushLayer(layer, merger);
    await merger.endLayer();
  }
  merger.finish();
  return upper;
}

async function diffOf(upper: MemoryTree, lower: MemoryTree, skip: readonly string[] = []): Promise<Layer> {
  const entries: { entry: TreeEntry; content: string }[] = [];
  const sink: TreeSink = {
    entry: (entry) => entries.push({ entry, content: "" }),
    data(chunk) {
      const last = entries.at(-1)!;
      last.content += Buffer.from(chunk).toString("latin1");
    },
    hole: (length) => sink.data(Buffer.alloc(length)),
    drain: () => undefined,
  };
  await diffUpper(viewOf(upper), viewOf(lower), sink, { skip: new Set(skip.map(bytePath)) });
  return entries;
}

const pathsOf = (layer: Layer) => layer.map(({ entry }) => entry.path);
const tree = (...entries: readonly [path: string, shape?: Partial<TreeEntry>][]) => {
  const made = new MemoryTree();
  for (const [path, shape] of entries) {
    made.entry({
      path: bytePath(path),
      type: "file",
      mode: 0o644,
      uid: 0,
      gid: 0,
      mtime: { sec: 1, nsec: 1 },
      size: 0,
      ...shape,
    });
  }
  return made;
};
const directory = { type: "directory", mode: 0o755 } as const;
const whiteout = { type: "char", mode: 0, devMajor: 0, devMinor: 0 } as const;
const opaque = { ...directory, xattrs: new Map([["trusted.overlay.opaque", Buffer.from("y")]]) } as const;

describe("the difference of an upper directory", () => {
  it("is a layer that leads to the same tree", async () => {
    await fc.assert(
      fc.asyncProperty(layerStacks, fc.nat(), async (stack, at) => {
        const split = at % (stack.length + 1);
        const lower = modelOf(stack.slice(0, split));
        const layer = await diffOf(await upperOf(stack.slice(split), lower), lower);
        const again = new MemoryTree();
        const merger = new LayerMerger(again);
        for (const part of [...stack.slice(0, split), layer]) {
          merger.beginLayer();
          pushLayer(part, merger);
          await merger.endLayer();
        }
        expect(withoutLinks(again)).toEqual(withoutLinks(modelOf(stack)));
      }),
      { numRuns: 400 },
    );
  });

  it("names removed files and emptied directories, and only those that were there", async () => {
    const lower = tree(["d", directory], ["d/old"], ["f"]);
    const upper = tree(["d", opaque], ["d/new"], ["f", whiteout], ["never", whiteout], ["n", opaque]);
    expect(pathsOf(await diffOf(upper, lower))).toEqual(["d", "d/.wh..wh..opq", "d/new", ".wh.f", "n"]);
  });

  it("leaves out directories that only gave way to what is in them, unless something there is new", async () => {
    const lower = tree(["a", directory], ["a/b", directory], ["a/b/c"], ["x", directory], ["x/y"]);
    const upper = tree(["a", directory], ["a/b", directory], ["a/b/c"], ["x", directory], ["x/z"]);
    expect(pathsOf(await diffOf(upper, lower))).toEqual(["x", "x/z"]);
  });

  it("keeps a change of metadata alone", async () => {
    const lower = tree(["a", directory], ["f"]);
    const upper = tree(["a", { ...directory, mode: 0o700 }], ["f", { uid: 5 }]);
    const kinds: string[] = [];
    for await (const change of changesOf(viewOf(upper), viewOf(lower))) kinds.push(`${change.kind} ${change.path}`);
    expect(kinds).toEqual(["modify a", "modify f"]);
  });

  it("leaves out what the executor mounted, and the time that its parent got from it", async () => {
    const lower = tree(["etc", directory]);
    const upper = tree(
      ["etc", { ...directory, mtime: { sec: 99, nsec: 0 } }],
      ["etc/resolv.conf"],
      ["proc", directory],
    );
    expect(await diffOf(upper, lower, ["etc/resolv.conf", "proc"])).toEqual([]);
  });

  it("refuses what only an overlay with redirects understands", async () => {
    const upper = tree(["d", { ...directory, xattrs: new Map([["trusted.overlay.redirect", Buffer.from("/e")]]) }]);
    await expect(diffOf(upper, tree())).rejects.toMatchObject({ code: "UPPER_UNSUPPORTED" });
  });
});

describe("a view of several trees", () => {
  it("shows what the kernel's overlay shows", async () => {
    await fc.assert(
      fc.asyncProperty(layerStacks, fc.nat(), async (stack, at) => {
        const split = at % (stack.length + 1);
        const lower = modelOf(stack.slice(0, split));
        const upper = await upperOf(stack.slice(split), lower);
        const seen = new MemoryTree();
        await pushTree(overlayView([viewOf(lower), viewOf(upper)]), seen);
        expect(withoutLinks(seen)).toEqual(withoutLinks(modelOf(stack)));
      }),
      { numRuns: 200 },
    );
  });

  it("follows symlinks, and never out of the root", async () => {
    const link = (linkTarget: string) => ({ type: "symlink", linkTarget: bytePath(linkTarget) }) as const;
    const view = viewOf(
      tree(["usr", directory], ["usr/bin", directory], ["bin", link("../../usr/bin")], ["me", link("me")]),
    );
    expect(await resolvePath(view, bytePath("bin/new/file"), { follow: true })).toBe("usr/bin/new/file");
    expect(await resolvePath(view, bytePath("bin"), { follow: false })).toBe("bin");
    expect(await resolvePath(view, bytePath("bin/../../x"), { follow: true })).toBe("x");
    await expect(resolvePath(view, bytePath("me"), { follow: true })).rejects.toMatchObject({ code: "PATH_LOOPS" });
  });
});

function withoutLinks(made: MemoryTree): string[] {
  return made.listing().map((line) => line.replace(/ #\d+$/, ""));
}

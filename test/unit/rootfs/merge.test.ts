import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LayerMerger, NotADelta } from "../../../src/rootfs/merge.js";
import type { TreeEntry } from "../../../src/support/tree.js";
import { type Layer, layerStacks, modelOf, pushLayer } from "../../helpers/layer-stacks.js";
import { bytePath, MemoryTree } from "../../helpers/memory-tree.js";

async function merged(stack: readonly Layer[], lower?: MemoryTree): Promise<MemoryTree> {
  const tree = new MemoryTree();
  const merger = new LayerMerger(tree, lower);
  for (const layer of stack) {
    merger.beginLayer();
    pushLayer(layer, merger);
    await merger.endLayer();
  }
  merger.finish();
  return tree;
}

type Shape = Partial<TreeEntry> & { readonly content?: string };

function layer(...entries: readonly (readonly [path: string, shape?: Shape])[]): Layer {
  return entries.map(([path, { content = "", ...shape } = {}]) => {
    const base = { mode: 0o644, uid: 0, gid: 0, mtime: { sec: 9, nsec: 0 }, size: content.length } as const;
    return { entry: { ...base, type: "file", path: bytePath(path), ...shape }, content };
  });
}

const directory: Shape = { type: "directory", mode: 0o755 };
const linkTo = (target: string): Shape => ({ type: "hardlink", linkTarget: bytePath(target) });
const symlinkTo = (target: string): Shape => ({ type: "symlink", linkTarget: bytePath(target) });

describe("layers merged into one tree", () => {
  it("mean what the model says", async () => {
    await fc.assert(
      fc.asyncProperty(layerStacks, async (stack) => {
        expect((await merged(stack)).listing()).toEqual(modelOf(stack).listing());
      }),
      { numRuns: 300 },
    );
  });

  it("mean the same when the upper ones lie as an overlay over the lower ones", async () => {
    await fc.assert(
      fc.asyncProperty(layerStacks, fc.nat(), async (stack, at) => {
        const split = at % (stack.length + 1);
        const lower = await merged(stack.slice(0, split));
        const delta = await merged(stack.slice(split), lower);
        expect(withoutLinks(delta.over(lower))).toEqual(withoutLinks(modelOf(stack)));
      }),
      { numRuns: 500 },
    );
  });

  it("a whiteout leaves what its own layer puts there, whatever the order", async () => {
    const lower = layer(["d", directory], ["d/old"], ["f", { content: "old" }]);
    const upper = layer(["d", directory], ["d/new"], [".wh.d"], ["f", { content: "new" }], [".wh.f"]);
    const tree = await merged([lower, upper]);
    expect(tree.paths()).toEqual(["", "d", "d/new", "f"]);
    expect(tree.contentOf(bytePath("f")).toString()).toBe("new");
  });

  it("an entry below a symlink lands where the link leads, inside the root", async () => {
    const lower = layer(["usr", directory], ["usr/bin", directory], ["bin", symlinkTo("../../usr/bin")]);
    expect((await merged([lower, layer(["bin/tool"])])).paths()).toEqual(["", "bin", "usr", "usr/bin", "usr/bin/tool"]);
  });

  it("symlinks in a circle are a corrupt layer", async () => {
    const stack = [layer(["a", symlinkTo("b")], ["b", symlinkTo("a")]), layer(["a/file"])];
    await expect(merged(stack)).rejects.toMatchObject({ code: "LAYER_CORRUPT" });
  });

  it("a link to nothing is a corrupt layer", async () => {
    await expect(merged([layer(["a", linkTo("b")])])).rejects.toMatchObject({ code: "LAYER_CORRUPT" });
  });

  it("the overlay's own marks never come out of a layer", async () => {
    const xattrs = new Map([["trusted.overlay.opaque", Buffer.from("y")]]);
    const device: Shape = { type: "char", devMajor: 0, devMinor: 0 };
    const lower = await merged([layer(["d", directory], ["d/kept"], ["f"])]);
    const delta = await merged([layer(["d", { ...directory, xattrs }], ["g", device])], lower);
    expect(delta.lookup(bytePath("d"))?.xattrs).toBeUndefined();
    expect(delta.lookup(bytePath("g"))).toBeUndefined();
  });
});

describe("a delta over a disk", () => {
  const lower = async () =>
    await merged([
      layer(["etc", { ...directory, mode: 0o700, uid: 3 }], ["etc/a", { content: "a" }], ["etc/b"], ["lib", directory]),
    ]);

  it("gives parents that no layer mentions the metadata that the disk below has", async () => {
    const delta = await merged([layer(["etc/c"])], await lower());
    expect(delta.lookup(bytePath("etc"))).toMatchObject({ mode: 0o700, uid: 3 });
  });

  it("whites out only what the disk below has", async () => {
    const delta = await merged([layer(["etc/.wh.a"], ["etc/.wh.never"], ["none/.wh.x"])], await lower());
    expect(delta.paths()).toEqual(["", "etc", "etc/a"]);
    expect(delta.lookup(bytePath("etc/a"))).toMatchObject({ type: "char", devMajor: 0, devMinor: 0 });
  });

  it("keeps hiding what a middle layer replaced and a later one removed", async () => {
    const stack = [
      layer(["etc/a", { content: "new" }]),
      layer(["etc/.wh.a"]),
      layer([".wh.lib"]),
      layer(["lib", directory]),
    ];
    const below = await lower();
    const delta = await merged(stack, below);
    expect(delta.over(below).paths()).toEqual(["", "etc", "etc/b", "lib"]);
    expect(delta.lookup(bytePath("lib"))?.xattrs?.get("trusted.overlay.opaque")?.toString()).toBe("y");
  });

  it("copies a file up that gets another name", async () => {
    const below = await lower();
    const delta = await merged([layer(["x", linkTo("etc/a")], ["y", linkTo("x")])], below);
    expect(delta.over(below).contentOf(bytePath("y")).toString()).toBe("a");
    expect(
      new Set(
        delta
          .listing()
          .filter((line) => line.includes("file"))
          .map((line) => line.split("#")[1]),
      ).size,
    ).toBe(1);
  });

  it("keeps a copied-up file for its new name when the old one goes in the same layer", async () => {
    const below = await lower();
    const delta = await merged([layer(["x", linkTo("etc/a")], ["etc/a", { content: "other" }])], below);
    expect(delta.contentOf(bytePath("x")).toString()).toBe("a");
    expect(delta.contentOf(bytePath("etc/a")).toString()).toBe("other");
  });

  it("can't hide the whole disk below", async () => {
    await expect(merged([layer([".wh..wh..opq"], ["new"])], await lower())).rejects.toThrow(NotADelta);
  });
});

/** Overlays part the names of one file when one of them is copied up, so links are compared apart. */
function withoutLinks(tree: MemoryTree): string[] {
  return tree.listing().map((line) => line.replace(/ #\d+$/, ""));
}

import { describe, expect, it } from "vitest";
import { createLayerBuffer } from "../../../src/rootfs/layer-buffer.js";
import type { TreeEntry, TreeSink } from "../../../src/support/tree.js";
import { bytePath } from "../../helpers/memory-tree.js";

function recorder(): { readonly said: string[]; readonly sink: TreeSink } {
  const said: string[] = [];
  const sink: TreeSink = {
    entry: ({ path }) => said.push(path),
    data: (chunk) => said.push(Buffer.from(chunk).toString()),
    hole: (length) => said.push(`hole ${length}`),
    drain: () => undefined,
  };
  return { said, sink };
}

const file = (path: string): TreeEntry => ({
  path: bytePath(path),
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: { sec: 0, nsec: 0 },
  size: 3,
});

describe("a layer that waits for its turn", () => {
  it("says the same in the same order, though its chunks were only borrowed", async () => {
    const { said, sink } = recorder();
    const budget = { left: 1 << 20 };
    const buffer = createLayerBuffer(sink, budget);
    const chunk = Buffer.from("abc");
    buffer.entry(file("one"));
    buffer.data(chunk);
    chunk.fill("x");
    buffer.hole(7);
    expect(said).toEqual([]);
    await buffer.open();
    buffer.entry(file("two"));
    expect(said).toEqual(["one", "abc", "hole 7", "two"]);
    expect(budget.left).toBe(1 << 20);
  });

  it("stops its decoder when the budget is used up, until the turn comes", async () => {
    const { said, sink } = recorder();
    const buffer = createLayerBuffer(sink, { left: 600 });
    buffer.entry(file("one"));
    expect(buffer.drain()).toBeUndefined();
    buffer.data(Buffer.alloc(200, "y"));
    const waiting = buffer.drain();
    expect(waiting).toBeInstanceOf(Promise);
    await buffer.open();
    await waiting;
    expect(said).toHaveLength(2);
    expect(buffer.drain()).toBeUndefined();
  });

  it("lets a decoder run out when nobody wants the layer any more", async () => {
    const { said, sink } = recorder();
    const buffer = createLayerBuffer(sink, { left: 1 });
    buffer.entry(file("one"));
    const waiting = buffer.drain();
    buffer.discard();
    await waiting;
    buffer.entry(file("two"));
    buffer.data(Buffer.from("abc"));
    expect(buffer.drain()).toBeUndefined();
    expect(said).toEqual([]);
  });
});

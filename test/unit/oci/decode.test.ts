import { randomBytes } from "node:crypto";
import { readFile, rm, truncate, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { zstdTool } from "../../../src/oci/compression/zstd-tool.js";
import { createDecodeThreads, type DecodeThreads } from "../../../src/oci/decode/threads.js";
import { openLayer, readLayer, writeLayer } from "../../../src/oci/layers.js";
import { type ImageStore, openImageStore } from "../../../src/oci/store.js";
import type { DiffId } from "../../../src/support/brands.js";
import { scratchDirectory } from "../../helpers/scratch.js";
import { file, recorder, replay } from "./trees.js";

const scratch = scratchDirectory();
let store: ImageStore;
let threads: DecodeThreads;
beforeEach(async () => {
  store = await openImageStore(scratch());
  threads = createDecodeThreads();
});
afterEach(async () => {
  await threads[Symbol.asyncDispose]();
  await store.close();
});

// Noise, so that the blob is too large to be decoded without a thread, and an end inside of a slot.
const tree = [
  file("a", "x"),
  file("noise", randomBytes(5_300_007)),
  file("zeros", Buffer.alloc(9_000_000)),
  file("z", ""),
];
const compressions = ["none", "gzip", ...((await zstdTool()) ? (["zstd"] as const) : [])] as const;
const stored = (compression: "none" | "gzip" | "zstd") =>
  writeLayer(store, async (sink) => replay(tree, sink), { compression });

describe("a thread", () => {
  test.each(compressions)("decodes a layer (%s) to what the main thread makes of it", async (compression) => {
    const { descriptor, diffId, size } = await stored(compression);
    const [here, there] = [recorder(), recorder()];
    await readLayer(store, descriptor, here, { diffId });
    expect(await readLayer(store, descriptor, there, { diffId, threads })).toEqual({ diffId, size });
    expect(there.tree.map(({ entry }) => entry)).toEqual(here.tree.map(({ entry }) => entry));
    expect(there.tree.every(({ content }, i) => content.equals(here.tree[i]!.content))).toBe(true);
    expect(await readLayer(store, descriptor, recorder(), { threads })).toEqual({ diffId, size });
  });

  test("runs ahead of its reader, and several do so side by side", async () => {
    const layers = [await stored("gzip"), await stored("none"), await stored("gzip")];
    const open = await Promise.all(
      layers.map(({ descriptor, diffId }) => openLayer(store, descriptor, { diffId, threads, aheadBytes: 3 << 20 })),
    );
    // The last first: nobody waits for a turn.
    for (const [index, layer] of [...open.entries()].reverse()) {
      await using _closing = layer;
      const sink = recorder();
      expect((await (await layer.read(sink))()).diffId).toBe(layers[index]!.diffId);
      expect(sink.tree.map((it) => it.content.length)).toEqual(tree.map((it) => it.content.length));
    }
  });

  test("is told when the rest is not wanted, and then takes the next layer", async () => {
    for (const compression of ["gzip", "none"] as const) {
      const { descriptor, diffId } = await stored(compression);
      const untouched = await openLayer(store, descriptor, { diffId, threads });
      await untouched[Symbol.asyncDispose]();
      const full = { ...recorder(), entry: () => expect.unreachable("enough") };
      await expect(readLayer(store, descriptor, full, { diffId, threads })).rejects.toThrow("enough");
      expect((await readLayer(store, descriptor, recorder(), { diffId, threads })).diffId).toBe(diffId);
    }
  });

  test("finds what is wrong with a layer as the main thread does", async () => {
    const { descriptor, diffId } = await stored("gzip");
    const read = (id?: DiffId) => readLayer(store, descriptor, recorder(), { diffId: id, threads });
    await expect(read(`sha256:${"0".repeat(64)}` as DiffId)).rejects.toMatchObject({ code: "DIFF_ID_MISMATCH" });
    const blob = store.blobPath(descriptor.digest);
    const bytes = await readFile(blob);
    await writeFile(blob, Buffer.from(bytes).fill(3, 9, 10));
    await expect(read()).rejects.toMatchObject({ code: "BLOB_DAMAGED" });
    await truncate(blob, bytes.length - 5000);
    await expect(read(diffId)).rejects.toMatchObject({ code: "COMPRESSION_CORRUPT", hint: expect.any(String) });
    await rm(blob);
    await expect(read(diffId)).rejects.toMatchObject({ code: "BLOB_MISSING" });
  });

  test("of a plain layer notices a changed byte", async () => {
    const { descriptor, diffId } = await stored("none");
    const blob = store.blobPath(descriptor.digest);
    const bytes = await readFile(blob);
    await writeFile(blob, bytes.fill(1, 2_000_000, 2_000_001).fill(2, 2_000_001, 2_000_002));
    await expect(readLayer(store, descriptor, recorder(), { diffId, threads })).rejects.toMatchObject({
      code: "BLOB_DAMAGED",
    });
  });
});

import { chmod, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureRootDisks } from "../../../src/rootfs/disks.js";
import { openTreeView } from "../../../src/rootfs/tree-view.js";
import type { RootDisks } from "../../../src/rootfs/types.js";
import { createWritableDisk } from "../../../src/rootfs/writable.js";
import type { Layer } from "../../helpers/layer-stacks.js";
import { bytePath } from "../../helpers/memory-tree.js";
import { openTestStore, type TestStore } from "../../helpers/stored-layers.js";
import { treeEntry } from "../../helpers/tree-lines.js";

let test: TestStore;
beforeEach(async () => {
  test = await openTestStore();
});
afterEach(async () => await test[Symbol.asyncDispose]());

const files = (contents: Readonly<Record<string, string>>): Layer =>
  Object.entries(contents).map(([name, content]) => ({
    entry: treeEntry(bytePath(name), "file", { size: content.length }),
    content,
  }));

const kinds = (disks: RootDisks) => disks.lowers.map(({ kind }) => kind);
const noise = (bytes: number) =>
  Array.from({ length: bytes / 8 }, (_, i) => (i * 2654435761).toString(16).padStart(8, "0").slice(0, 8)).join("");

describe("where the base ends and the delta begins", () => {
  it("an image that came as a whole is one base", async () => {
    const image = await test.image([files({ a: "1" }), files({ b: "2" })]);
    expect(kinds(await ensureRootDisks(test.home, test.store, image))).toEqual(["base"]);
  });

  it("layers on top of an image are a delta over its base", async () => {
    const below = await ensureRootDisks(test.home, test.store, await test.image([files({ a: "1" })]));
    const image = await test.image([files({ a: "1" }), files({ b: "2" }), files({ ".wh.a": "" })], 1);
    const disks = await ensureRootDisks(test.home, test.store, image);
    expect(kinds(disks)).toEqual(["base", "delta"]);
    expect(disks.lowers[0]).toEqual(below.lowers[0]);
    await using view = await openTreeView(disks);
    expect(await view.list(bytePath(""))).toEqual(["b"]);
  });

  it("an image without further words uses the base that is there already", async () => {
    await ensureRootDisks(test.home, test.store, await test.image([files({ a: "1" })]));
    const image = await test.image([files({ a: "1" }), files({ b: "2" })]);
    expect(kinds(await ensureRootDisks(test.home, test.store, image))).toEqual(["base", "delta"]);
  });

  it("a delta that outgrows its base becomes a base", async () => {
    const image = await test.image(
      [
        files({ a: "1" }),
        async (sink) => {
          sink.entry(treeEntry("big", "file", { size: 66 << 20 }));
          const chunk = Buffer.from(noise(1 << 20));
          for (let i = 0; i < 66; i++) sink.data(chunk);
        },
      ],
      1,
    );
    expect(kinds(await ensureRootDisks(test.home, test.store, image))).toEqual(["base"]);
  });

  it("layers that hide the whole base are a base of their own", async () => {
    const image = await test.image([files({ a: "1" }), files({ ".wh..wh..opq": "", b: "2" })], 1);
    const disks = await ensureRootDisks(test.home, test.store, image);
    expect(kinds(disks)).toEqual(["base"]);
    await using view = await openTreeView(disks);
    expect(await view.list(bytePath(""))).toEqual(["b"]);
  });

  it("no layers at all are an empty base", async () => {
    const disks = await ensureRootDisks(test.home, test.store, await test.image([], 0));
    expect(kinds(disks)).toEqual(["base"]);
    await using view = await openTreeView(disks);
    expect(await view.list(bytePath(""))).toEqual([]);
  });
});

describe("assembling", () => {
  it("asks nothing of the host for each file", async () => {
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`d${i % 100}/f${i}`, `content of ${i}`]));
    const image = await test.image([files(many)]);
    const calls = async () => {
      const text = await readFile("/proc/self/io", "utf8");
      return [...text.matchAll(/^sysc[rw]: (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
    };
    const before = await calls();
    await ensureRootDisks(test.home, test.store, image);
    // Reads and writes, those by which threads wake each other included, for 80 MB.
    expect((await calls()) - before).toBeLessThan(4000);
  });
});

describe("an old layer", () => {
  it("does not bring the bookkeeping of its driver along", async () => {
    const image = await test.image([files({ ".wh..wh.aufs": "x", ".wh..wh.plnk/12.34": "y", a: "1" })]);
    await using view = await openTreeView(await ensureRootDisks(test.home, test.store, image));
    expect(await view.list(bytePath(""))).toEqual(["a"]);
  });
});

describe("layers that are still being downloaded", () => {
  it("are waited for one by one: those below are merged meanwhile", async () => {
    const image = await test.image([files({ a: "1" }), files({ b: "2" })]);
    const asked: number[] = [];
    let arrive = () => {};
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const store = {
      pin: test.store.pin,
      async openBlob(digest: Parameters<typeof test.store.openBlob>[0]) {
        asked.push(image.layers.findIndex((layer) => layer.digest === digest));
        // The upper layer arrives only once the lower one is being read.
        arrive();
        return await test.store.openBlob(digest);
      },
    };
    const layerReady = async ({ digest }: { digest: string }) => {
      if (digest === image.layers[1]!.digest) await arrived;
    };
    const disks = await ensureRootDisks(test.home, store, image, { layerReady });
    expect(asked).toEqual([0, 1]);
    await using view = await openTreeView(disks);
    expect(await view.list(bytePath(""))).toEqual(["a", "b"]);
  });
});

describe("what can go wrong", () => {
  it("a damaged layer is an error, and leaves no disk behind", async () => {
    const image = await test.image([files({ a: "1" })]);
    const blob = test.store.blobPath(image.layers[0]!.digest);
    await chmod(blob, 0o600);
    await writeFile(blob, "not a layer");
    await expect(ensureRootDisks(test.home, test.store, image)).rejects.toMatchObject({ name: "AegisError" });
    expect([...(await readdir(test.home.disks)), ...(await readdir(test.home.tmp))]).toEqual([]);
  });

  it("a large layer that is not what its digest says leaves no disk behind", async () => {
    const image = await test.image([files({ a: "1" }), files({ b: noise(4 << 20) }), files({ c: noise(3 << 20) })]);
    const blob = test.store.blobPath(image.layers[1]!.digest);
    await chmod(blob, 0o600);
    const bytes = await readFile(blob);
    await writeFile(blob, bytes.fill(0x21, 1 << 20, (1 << 20) + 8));
    await expect(ensureRootDisks(test.home, test.store, image)).rejects.toMatchObject({ code: "BLOB_DAMAGED" });
    expect([...(await readdir(test.home.disks)), ...(await readdir(test.home.tmp))]).toEqual([]);
  });

  it("a failing layer ends the decoding of those that wait behind it", async () => {
    const image = await test.image([files({ a: "1" }), files({ b: "2" }), files({ c: "3" })]);
    await rm(test.store.blobPath(image.layers[0]!.digest));
    await expect(ensureRootDisks(test.home, test.store, image)).rejects.toMatchObject({ code: "BLOB_MISSING" });
  });

  it("a config that names another number of layers is refused", async () => {
    const image = await test.image([files({ a: "1" })]);
    const config = { rootfs: { type: "layers", diff_ids: [] } } as const;
    await expect(ensureRootDisks(test.home, test.store, { ...image, config })).rejects.toMatchObject({
      code: "IMAGE_INCONSISTENT",
    });
  });

  it("what a killed process left is swept", async () => {
    const stale = path.join(test.home.disks, ".tmp-4194304-0123456789ab-base-x.ext4");
    await writeFile(stale, "half");
    await ensureRootDisks(test.home, test.store, await test.image([files({ a: "1" })]));
    await expect(stat(stale)).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("a writable disk", () => {
  it("is sparse whatever its size", async () => {
    const file = path.join(test.home.instances, "disk.ext4");
    await createWritableDisk(file, { sizeBytes: 100 * 2 ** 30, uuid: Buffer.alloc(16, 1) });
    const { size, blocks } = await stat(file);
    expect(size).toBe(100 * 2 ** 30);
    expect(blocks * 512).toBeLessThan(2 << 20);
  });
});

import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { writeLayer } from "../../../src/oci/layers.js";
import { removeImage } from "../../../src/oci/removal.js";
import { selectImages } from "../../../src/oci/select.js";
import { pruneImages } from "../../../src/oci/store/prune.js";
import { type ImageStore, openImageStore } from "../../../src/oci/store.js";
import { scratchDirectory } from "../../helpers/scratch.js";
import { file, replay } from "./trees.js";

const scratch = scratchDirectory();
let store: ImageStore;
beforeEach(async () => {
  store = await openImageStore(scratch());
});
afterEach(async () => {
  await store.close();
});

/** An image of about 10 kB. */
async function makeImage(name: string | undefined, created: string, labels: Record<string, string> = {}) {
  const content = Buffer.alloc(8000, `${name}${created}`);
  const layer = await writeLayer(store, async (sink) => replay([file("f", content)], sink), { compression: "none" });
  const config = {
    architecture: "amd64",
    os: "linux",
    created,
    config: { Labels: labels },
    rootfs: { type: "layers" as const, diff_ids: [layer.diffId] },
  };
  return await store.putImage({ config, layers: [layer.descriptor] }, name === undefined ? [] : [name]);
}

const names = async () =>
  (await selectImages(store, [])).flatMap((it) => it.names.map((name) => name.split("/").at(-1)));

describe("prune", () => {
  test("takes dangling images, and named ones only when asked", async () => {
    await makeImage("old:1", "2020-01-01T00:00:00Z");
    const dangling = await makeImage(undefined, "2021-01-01T00:00:00Z");
    const pruned = await pruneImages(store);
    expect(pruned.images.map((it) => it.target.digest)).toEqual([dangling.target.digest]);
    expect(pruned.bytes).toBeGreaterThan(8000);
    expect(await names()).toEqual(["old:1"]);
    await pruneImages(store, { all: true, filters: ["until=2020-06-01"] });
    expect(await names()).toEqual([]);
    expect(await readdir(scratch("blobs/sha256"))).toEqual([]);
  });

  test("spares what is used elsewhere, with all that hangs on it", async () => {
    const used = await makeImage("used:1", "2020-01-01T00:00:00Z");
    await makeImage("unused:1", "2021-01-01T00:00:00Z");
    await pruneImages(store, { all: true, keep: async () => [used.target.digest] });
    expect(await names()).toEqual(["used:1"]);
    await store.remove("used:1");
    await store.collect({ keep: async () => [used.target.digest] });
    expect(await readdir(scratch("blobs/sha256"))).toHaveLength(3);
  });

  test("stops, oldest first, when the store is small enough", async () => {
    for (const year of [2022, 2020, 2023, 2021]) await makeImage(`y:${year}`, `${year}-01-01T00:00:00Z`);
    await pruneImages(store, { all: true, keepStorage: 25_000 });
    expect(await names()).toEqual(["y:2023", "y:2022"]);
  });

  test("sweeps downloads that nobody went on with for a day", async () => {
    const partial = scratch(".partial");
    await mkdir(partial);
    for (const name of ["old", "new"]) await writeFile(path.join(partial, name), "");
    await utimes(path.join(partial, "old"), 1, 1);
    await pruneImages(store);
    expect((await readdir(partial)).filter((it) => !it.endsWith(".lock"))).toEqual(["new"]);
  });
});

describe("filters", () => {
  test.each([
    ["reference=a*", ["app:2", "app:1"]],
    ["reference=app:1", ["app:1"]],
    ["label=kind=x", ["app:1"]],
    ["label=kind", ["app:2", "app:1"]],
    ["dangling=true", []],
    ["before=other:3", ["app:2", "app:1"]],
    ["since=app:1", ["other:3", "app:2"]],
    ["until=2021-06-01", ["app:2", "app:1"]],
  ])("%s", async (filter, expected) => {
    await makeImage("app:1", "2020-01-01T00:00:00Z", { kind: "x" });
    await makeImage("app:2", "2021-01-01T00:00:00Z", { kind: "y" });
    await makeImage("other:3", "2022-01-01T00:00:00Z");
    const found = await selectImages(store, [filter]);
    expect(found.flatMap((it) => it.names.map((name) => name.split("/").at(-1)))).toEqual(expected);
  });

  test("that are unknown are refused", async () => {
    await expect(selectImages(store, ["size=3"])).rejects.toMatchObject({ code: "BAD_FILTER" });
  });
});

describe("rmi", () => {
  test("takes a name at a time, and an id with several names only by force", async () => {
    const image = await makeImage("app:1", "2020-01-01T00:00:00Z");
    await store.tag("app:1", "app:2");
    const { digest } = image.target;
    await expect(removeImage(store, digest)).rejects.toMatchObject({ code: "IMAGE_HAS_NAMES" });
    expect(await removeImage(store, "app:1")).toEqual({ untagged: ["app:1"], deleted: [] });
    expect(await removeImage(store, digest.slice(7, 19))).toEqual({ untagged: ["app:2"], deleted: [digest] });
    await expect(removeImage(store, "app:2")).rejects.toMatchObject({ code: "IMAGE_NOT_FOUND" });
  });
});

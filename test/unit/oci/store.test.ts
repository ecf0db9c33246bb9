import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readLayer, writeLayer } from "../../../src/oci/layers.js";
import { mediaTypes } from "../../../src/oci/media-types.js";
import { type ImageStore, openImageStore } from "../../../src/oci/store.js";
import type { ImageConfig } from "../../../src/oci/types.js";
import type { DiffId } from "../../../src/support/brands.js";
import { scratchDirectory } from "../../helpers/scratch.js";
import { file, recorder, replay } from "./trees.js";

const scratch = scratchDirectory();
let store: ImageStore;
beforeEach(async () => {
  store = await openImageStore(scratch());
});
afterEach(async () => {
  await store.close();
});

const config = (diffIds: readonly DiffId[], over: Partial<ImageConfig> = {}): ImageConfig => ({
  architecture: "amd64",
  os: "linux",
  rootfs: { type: "layers", diff_ids: diffIds },
  ...over,
});

async function makeImage(names: readonly string[], content = "hello") {
  const layer = await writeLayer(store, async (sink) => replay([file("greeting", content)], sink), {
    compression: "gzip",
  });
  return await store.putImage({ config: config([layer.diffId]), layers: [layer.descriptor] }, names);
}

describe("layers", () => {
  const tree = [file("a", "x".repeat(10)), file("big", randomBytes(3_500_000)), file("c", Buffer.alloc(3_000_000))];

  test.each(["gzip", "none"] as const)("survive the round trip as %s", async (compression) => {
    const written = await writeLayer(store, async (sink) => replay(tree, sink), { compression });
    const sink = recorder();
    const read = await readLayer(store, written.descriptor, sink, { diffId: written.diffId });
    expect(read).toEqual({ diffId: written.diffId, size: written.size });
    expect(sink.tree.map((it) => it.content.equals(tree.find((t) => t.entry.path === it.entry.path)!.content))).toEqual(
      [true, true, true],
    );
    expect(written.entries).toBe(3);
  });

  test("are one ordinary gzip member, equal each time", async () => {
    const once = await writeLayer(store, async (sink) => replay(tree, sink), { compression: "gzip" });
    const again = await writeLayer(store, async (sink) => replay(tree, sink), { compression: "gzip" });
    expect(again).toEqual(once);
    const tar = gunzipSync(await readFile(store.blobPath(once.descriptor.digest)));
    expect(`sha256:${createHash("sha256").update(tar).digest("hex")}`).toBe(once.diffId);
    expect(once.descriptor.size).toBeLessThan(gzipSync(tar).length * 1.01);
  });

  test("are no younger than the clamp", async () => {
    const options = { compression: "none", modifiedClamp: 1000 } as const;
    const written = await writeLayer(store, async (sink) => replay([file("a", "")], sink), options);
    const sink = recorder();
    await readLayer(store, written.descriptor, sink);
    expect(sink.tree[0]!.entry.mtime).toEqual({ sec: 1000, nsec: 0 });
  });

  test("that fail half-way leave nothing behind", async () => {
    const failing = writeLayer(
      store,
      async (sink) => {
        replay(tree, sink);
        await sink.drain();
        throw new Error("no");
      },
      { compression: "none" },
    );
    await expect(failing).rejects.toThrow("no");
    expect(await readdir(scratch(".tmp"))).toEqual([]);
    expect(await readdir(scratch("blobs/sha256"))).toEqual([]);
  });

  test("that changed on disk, lie about their diff id or are truncated are refused", async () => {
    const { descriptor, diffId } = await writeLayer(store, async (sink) => replay(tree, sink), { compression: "gzip" });
    const other = `sha256:${"0".repeat(64)}` as DiffId;
    const read = (id?: DiffId) => readLayer(store, descriptor, recorder(), { diffId: id });
    await expect(read(other)).rejects.toMatchObject({ code: "DIFF_ID_MISMATCH" });
    const bytes = await readFile(store.blobPath(descriptor.digest));
    await writeFile(store.blobPath(descriptor.digest), bytes.subarray(0, -5000));
    await expect(read(diffId)).rejects.toMatchObject({ code: "COMPRESSION_CORRUPT" });
    await writeFile(store.blobPath(descriptor.digest), Buffer.from(bytes).fill(3, 9, 10));
    await expect(read()).rejects.toMatchObject({ code: "BLOB_DAMAGED" });
  });
});

describe("the store", () => {
  test("finds an image by any form of its name, by digest and by the beginning of its id", async () => {
    const image = await makeImage(["app:1"]);
    const { digest } = image.target;
    for (const text of [
      "app:1",
      "docker.io/library/app:1",
      digest,
      digest.slice(7, 19),
      `app@${digest}`,
      `app:1@${digest}`,
    ]) {
      expect((await store.resolve(text))?.target.digest, text).toBe(digest);
    }
    for (const text of ["app", "other:1", "0000", `other@${digest}`]) expect(await store.resolve(text)).toBeUndefined();
  });

  test("refuses blobs that are not what was announced", async () => {
    const expected = { digest: `sha256:${"1".repeat(64)}` as never };
    const write = store.writeBlob(Buffer.from("x"), { mediaType: "text/plain", expected });
    await expect(write).rejects.toMatchObject({ code: "DIGEST_MISMATCH" });
    const long = store.writeBlob(Buffer.from("x"), { mediaType: "text/plain", expected: { size: 2 } });
    await expect(long).rejects.toMatchObject({ code: "SIZE_MISMATCH" });
    expect(await readdir(scratch("blobs/sha256"))).toEqual([]);
  });

  test("keeps an image that lost its name to another as dangling", async () => {
    const first = await makeImage(["app"], "one");
    const second = await makeImage(["app"], "two");
    const listed = await store.list();
    expect(listed.map((it) => [it.target.digest, it.names])).toEqual([
      [first.target.digest, []],
      [second.target.digest, ["docker.io/library/app:latest"]],
    ]);
    await store.tag(first.target.digest, "old");
    expect((await store.list()).map((it) => it.names.length)).toEqual([1, 1]);
  });

  test("is a layout whose index names every image", async () => {
    const image = await makeImage(["app:1", "app:2"]);
    const index = JSON.parse(await readFile(scratch("index.json"), "utf8"));
    expect(index.manifests.map((it: { digest: string }) => it.digest)).toEqual([
      image.target.digest,
      image.target.digest,
    ]);
    expect(index.manifests[0].annotations).toEqual({
      "io.containerd.image.name": "docker.io/library/app:1",
      "org.opencontainers.image.ref.name": "docker.io/library/app:1",
    });
    expect(JSON.parse(await readFile(scratch("oci-layout"), "utf8"))).toEqual({
      imageLayoutVersion: "1.0.0",
    });
  });

  test("takes names from any number of writers at once", async () => {
    const stores = await Promise.all(Array.from({ length: 6 }, () => openImageStore(scratch())));
    const image = await makeImage(["app:0"]);
    await Promise.all(stores.map((it, i) => it.tag(image.target.digest, `app:n${i}`)));
    expect((await store.list())[0]!.names).toHaveLength(7);
    await Promise.all(stores.map((it) => it.close()));
  });

  test("picks the platform that is asked for", async () => {
    const images = [];
    for (const architecture of ["amd64", "arm64"]) {
      const layer = await writeLayer(store, async (sink) => replay([file(architecture, "")], sink), {
        compression: "gzip",
      });
      images.push(
        await store.putImage({ config: { ...config([layer.diffId]), architecture }, layers: [layer.descriptor] }, []),
      );
    }
    const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: images.map((it) => it.target) };
    const target = await store.writeBlob(Buffer.from(JSON.stringify(index)), { mediaType: mediaTypes.ociIndex });
    await store.putTarget(target, ["multi"]);
    for (const architecture of ["amd64", "arm64"]) {
      const platform = { os: "linux", architecture };
      expect((await store.resolve("multi", { platform }))?.config.architecture).toBe(architecture);
    }
    expect(await store.resolve("multi", { platform: { os: "linux", architecture: "s390x" } })).toBeUndefined();
  });
});

describe("collection", () => {
  const blobsLeft = async () => (await readdir(scratch("blobs/sha256"))).length;

  test("removes what nothing names once the process that wrote it is done", async () => {
    const image = await makeImage(["app"]);
    await store.remove("app");
    expect((await store.collect()).digests).toEqual([]);
    await store.close();
    const other = await openImageStore(scratch());
    const planned = await other.collect({ dryRun: true });
    expect(planned.digests).toHaveLength(3);
    expect(await blobsLeft()).toBe(3);
    expect(await other.collect()).toEqual(planned);
    expect(await blobsLeft()).toBe(0);
    expect(await other.resolve(image.target.digest)).toBeUndefined();
    await other.close();
  });

  test("keeps what is named, what another process resolved, and what is kept for an owner", async () => {
    await makeImage(["a"], "one");
    await makeImage(["b"], "two");
    const kept = await makeImage(["c"], "three");
    await store.leases.keep("instance/web", [kept.target.digest]);
    await store.close();
    const build = await openImageStore(scratch());
    await build.resolve("b");
    const pruner = await openImageStore(scratch());
    await pruner.remove("b");
    await pruner.remove("c");
    await pruner.close();
    await pruner.collect();
    expect(await blobsLeft()).toBe(9);
    await build.close();
    await pruner.collect();
    expect(await blobsLeft()).toBe(6);
    expect(await pruner.leases.owners()).toEqual(["instance/web"]);
    await pruner.leases.drop("instance/web");
    await pruner.collect();
    expect(await blobsLeft()).toBe(3);
  });

  test("sweeps leases and temporary files of processes that are gone", async () => {
    await makeImage(["a"]);
    await store.close();
    await writeFile(scratch(".leases", "1-dead.lease"), "sha256:x\n");
    await writeFile(scratch(".tmp", ".tmp-4194304-aa-blob"), "");
    await store.collect();
    expect(await readdir(scratch(".leases"))).toEqual([".sweep.lock"]);
    expect(await readdir(scratch(".tmp"))).toEqual([]);
  });
});

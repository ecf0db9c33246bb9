import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { loadLayoutDirectory, saveLayoutDirectory } from "../../../src/oci/archive/layout.js";
import { loadArchive } from "../../../src/oci/archive/load.js";
import { compressStream, saveArchive } from "../../../src/oci/archive/save.js";
import { decompress, portableZstd } from "../../../src/oci/compression/decompress.js";
import { beginImage } from "../../../src/oci/ensure.js";
import { readLayer, writeLayer } from "../../../src/oci/layers.js";
import { mediaTypes } from "../../../src/oci/media-types.js";
import { discardTree } from "../../../src/oci/tar/decode.js";
import type { TreeSink } from "../../../src/support/tree.js";
import { file, replay } from "../../unit/oci/trees.js";
import { makeImage, run, skopeo, temporaryStore } from "./fixtures.js";

describe("archives", () => {
  test.each([
    ["docker-archive", "none"],
    ["docker-archive", "gzip"],
    ["oci-archive", "none"],
  ])("that skopeo writes as %s are loaded (%s)", async (transport, compression) => {
    await using from = await temporaryStore();
    const image = await makeImage(from.store, ["app:1"]);
    const file = path.join(from.directory, "app.tar");
    await skopeo("copy", "-q", `oci:${from.store.root}:docker.io/library/app:1`, `${transport}:${file}:app:1`);
    if (compression === "gzip") await run("gzip", file);
    await using into = await temporaryStore();
    const [loaded] = await loadArchive(into.store, createReadStream(compression === "gzip" ? `${file}.gz` : file));
    expect(loaded!.names).toEqual(["docker.io/library/app:1"]);
    const stored = (await into.store.resolve("app:1"))!;
    expect(stored.config.rootfs).toEqual(image.config.rootfs);
    expect(stored.config.config).toEqual(image.config.config);
    if (transport === "oci-archive") expect(stored.target.digest).toBe(image.target.digest);
  });

  test("that we save are read by skopeo in both of their natures, and by ourselves", async () => {
    await using from = await temporaryStore();
    const one = await makeImage(from.store, ["app:1", "app:latest"]);
    await makeImage(from.store, ["other:2"]);
    const file = path.join(from.directory, "saved.tar.gz");
    const chunks: Buffer[] = [];
    for await (const chunk of compressStream(saveArchive(from.store, ["app:1", "app:latest", "other:2"]), "gzip")) {
      chunks.push(Buffer.from(chunk));
    }
    await writeFile(file, Buffer.concat(chunks));
    await run("gzip", "-d", file);
    const tar = file.replace(/\.gz$/, "");
    for (const name of ["app:1", "app:latest", "other:2"]) {
      const inspected = JSON.parse(await skopeo("inspect", `docker-archive:${tar}:${name}`));
      expect(inspected.Layers).toHaveLength(3);
    }
    expect(JSON.parse(await skopeo("inspect", `oci-archive:${tar}:1`)).Digest).toBe(one.target.digest);
    await skopeo("copy", "-q", `docker-archive:${tar}:other:2`, `dir:${path.join(from.directory, "copy")}`);
    await using into = await temporaryStore();
    const loaded = await loadArchive(into.store, createReadStream(tar));
    expect(loaded.map((it) => it.names)).toEqual([
      ["docker.io/library/app:1", "docker.io/library/app:latest"],
      ["docker.io/library/other:2"],
    ]);
    expect((await into.store.resolve("app"))?.target.digest).toBe(one.target.digest);
  });

  test("that docker wrote before it knew OCI, with links between layers, are loaded", async () => {
    await using from = await temporaryStore();
    const at = (name: string) => path.join(from.directory, "old", name);
    const image = await makeImage(from.store, ["old:1"], { compression: "none" });
    await run("mkdir", "-p", at("a"), at("b"), at("c"));
    const [first, second, third] = image.manifest.layers.map((it) => from.store.blobPath(it.digest));
    await run("cp", first!, at("shared.tar"));
    await run("ln", "-s", "../shared.tar", at("a/layer.tar"));
    await run("cp", second!, at("b/layer.tar"));
    await run("cp", third!, at("c/layer.tar"));
    await run("cp", from.store.blobPath(image.manifest.config.digest), at("config.json"));
    const Layers = ["a/layer.tar", "b/layer.tar", "c/layer.tar"];
    await writeFile(at("manifest.json"), JSON.stringify([{ Config: "config.json", RepoTags: ["old:1"], Layers }]));
    const tar = path.join(from.directory, "old.tar");
    await run("tar", "-C", at(""), "-cf", tar, "a", "b", "c", "config.json", "manifest.json", "shared.tar");
    await using into = await temporaryStore();
    await loadArchive(into.store, createReadStream(tar));
    expect((await into.store.resolve("old:1"))?.config.rootfs).toEqual(image.config.rootfs);
    // A layer that is not what the config says is refused.
    await run("cp", third!, at("b/layer.tar"));
    await run("tar", "-C", at(""), "-cf", tar, "a", "b", "c", "config.json", "manifest.json", "shared.tar");
    await using other = await temporaryStore();
    const lying = loadArchive(other.store, createReadStream(tar));
    await expect(lying).rejects.toMatchObject({ code: "DIFF_ID_MISMATCH" });
    expect(await other.store.list()).toEqual([]);
  });

  test.each<[string, readonly string[], string]>([
    ["a root filesystem", ["etc"], "ARCHIVE_UNKNOWN"],
    ["an archive without its blobs", ["index.json", "oci-layout"], "IMAGE_INCOMPLETE"],
  ])("%s is refused", async (_what, members, code) => {
    await using from = await temporaryStore();
    await makeImage(from.store, ["x"]);
    await run("mkdir", path.join(from.store.root, "etc"));
    const tar = path.join(from.directory, "x.tar");
    await run("tar", "-C", from.store.root, "-cf", tar, ...members);
    await using into = await temporaryStore();
    await expect(loadArchive(into.store, createReadStream(tar))).rejects.toMatchObject({ code });
  });
});

describe("layouts in directories", () => {
  test("that umoci and skopeo wrote are read, and what we write they read", async () => {
    await using from = await temporaryStore();
    const image = await makeImage(from.store, ["app:1"]);
    const layout = path.join(from.directory, "layout");
    await saveLayoutDirectory(from.store, ["app:1"], { directory: layout, name: "mine" });
    await saveLayoutDirectory(from.store, ["app:1"], { directory: layout });
    expect((await run("umoci", "ls", "--layout", layout)).split("\n").filter(Boolean).sort()).toEqual([
      "docker.io/library/app:1",
      "mine",
    ]);
    expect(JSON.parse(await skopeo("inspect", `oci:${layout}:mine`)).Digest).toBe(image.target.digest);
    await run("umoci", "config", "--image", `${layout}:mine`, "--tag", "changed", "--config.env", "B=2");
    await using into = await temporaryStore();
    const pending = await beginImage(into.store, `oci:${layout}:changed`, { pull: "missing" });
    expect(pending.image.config.config?.Env).toEqual(["A=1", "B=2"]);
    await expect(beginImage(into.store, `oci:${layout}`, { pull: "missing" })).rejects.toMatchObject({
      code: "LAYOUT_AMBIGUOUS",
    });
    await expect(beginImage(into.store, `oci:${layout}:nope`, { pull: "missing" })).rejects.toMatchObject({
      code: "IMAGE_NOT_FOUND",
    });
    await expect(loadLayoutDirectory(into.store, { directory: from.directory })).rejects.toMatchObject({
      code: "LAYOUT_INVALID",
    });
    expect((await into.store.list()).flatMap((it) => it.names)).toEqual([]);
    await loadLayoutDirectory(into.store, { directory: layout });
    expect((await into.store.resolve("app:1"))?.target.digest).toBe(image.target.digest);
  });
});

test("layers in zstd, as skopeo writes them, are read", async () => {
  await using from = await temporaryStore();
  const image = await makeImage(from.store, ["app:1"], { size: 3_000_000 });
  const layout = path.join(from.directory, "zstd");
  const source = `oci:${from.store.root}:docker.io/library/app:1`;
  const dir = path.join(from.directory, "plain");
  await skopeo("copy", "-q", "--dest-decompress", source, `dir:${dir}`);
  await skopeo("copy", "-q", "--dest-compress", "--dest-compress-format=zstd", `dir:${dir}`, `oci:${layout}:app`);
  await using into = await temporaryStore();
  const [loaded] = await loadLayoutDirectory(into.store, { directory: layout });
  const stored = (await into.store.resolve(loaded!.target.digest))!;
  expect(stored.manifest.layers.map((it) => it.mediaType)).toEqual(Array(3).fill(mediaTypes.ociLayerZstd));
  for (const [i, layer] of stored.manifest.layers.entries()) {
    const { diffId } = await readLayer(into.store, layer, discardTree);
    expect(diffId).toBe(image.config.rootfs.diff_ids[i]);
  }
});

test("layers and archives that we write in zstd, the zstd program reads", async () => {
  await using from = await temporaryStore();
  const content = Buffer.alloc(3_000_000, "compressible ");
  const produce = async (sink: TreeSink) => {
    replay([file("f", content)], sink);
    await sink.drain();
  };
  const layer = await writeLayer(from.store, produce, { compression: "zstd" });
  expect(layer.descriptor.size).toBeLessThan(100_000);
  const tar = path.join(from.directory, "layer.tar");
  await run("zstd", "-dq", from.store.blobPath(layer.descriptor.digest), "-o", tar);
  expect(await run("tar", "tf", tar)).toBe("f\n");
  expect(await readLayer(from.store, layer.descriptor, discardTree)).toEqual({
    diffId: layer.diffId,
    size: layer.size,
  });
  await makeImage(from.store, ["app:1"]);
  const chunks: Buffer[] = [];
  for await (const chunk of compressStream(saveArchive(from.store, ["app:1"]), "zstd")) chunks.push(Buffer.from(chunk));
  await using into = await temporaryStore();
  const [loaded] = await loadArchive(into.store, Readable.from(chunks));
  expect(loaded!.names).toEqual(["docker.io/library/app:1"]);
  const failing = writeLayer(from.store, async () => Promise.reject(new Error("no")), { compression: "zstd" });
  await expect(failing).rejects.toThrow("no");
});

test("a damaged zstd stream is an error in both of the ways to read it", async () => {
  await using from = await temporaryStore();
  const plain = path.join(from.directory, "plain");
  await writeFile(plain, Buffer.alloc(200_000, "some text "));
  await run("zstd", "-q", plain);
  const bytes = await readFile(`${plain}.zst`);
  const readAll = async (stream: AsyncIterable<Uint8Array>) => {
    let size = 0;
    for await (const chunk of stream) size += chunk.length;
    return size;
  };
  expect(await readAll(decompress(Readable.from([bytes]), "zstd"))).toBe(200_000);
  expect(await readAll(portableZstd(Readable.from([bytes])))).toBe(200_000);
  for (const damaged of [bytes.subarray(0, -9), Buffer.concat([bytes.subarray(0, 4), Buffer.alloc(99, 255)])]) {
    await expect(readAll(decompress(Readable.from([damaged]), "zstd"))).rejects.toMatchObject({
      code: "COMPRESSION_CORRUPT",
    });
    await expect(readAll(portableZstd(Readable.from([damaged])))).rejects.toMatchObject({
      code: "COMPRESSION_CORRUPT",
    });
  }
});

import { readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type ImageStore, openImageStore } from "../../../src/oci/store.js";
import { collectDisks } from "../../../src/rootfs/collect.js";
import { ensureRootDisks, type RootImage } from "../../../src/rootfs/disks.js";
import type { RootDisks } from "../../../src/rootfs/types.js";
import type { Layer } from "../../helpers/layer-stacks.js";
import { bytePath } from "../../helpers/memory-tree.js";
import { openTestStore, type TestStore } from "../../helpers/stored-layers.js";

let test: TestStore;
let other: ImageStore;
beforeEach(async () => {
  test = await openTestStore();
  other = await openImageStore(test.home.images);
});
afterEach(async () => {
  await other.close();
  await test[Symbol.asyncDispose]();
});

const file = (name: string): Layer => [
  {
    entry: { path: bytePath(name), type: "file", mode: 0o644, uid: 0, gid: 0, mtime: { sec: 1, nsec: 0 }, size: 1 },
    content: "x",
  },
];
const namesOf = ({ lowers }: RootDisks) => lowers.map((lower) => path.basename(lower.path));
const present = async () => (await readdir(test.home.disks)).filter((name) => !name.startsWith(".")).sort();
const disksFor = (image: RootImage) => ensureRootDisks(test.home, test.store, image);
const collect = (keep: readonly string[] = []) => collectDisks(test.home, other, { keep: async () => keep });
const put = ({ config, layers }: RootImage, name: string) =>
  other.putImage({ config: { architecture: "amd64", os: "linux", ...config }, layers }, [name]);

it("disks that a process uses stay until it closes its store", async () => {
  const disks = await disksFor(await test.image([file("a"), file("b")], 1));
  expect((await collect()).names).toEqual([]);
  expect(await present()).toEqual(namesOf(disks).sort());
  await test.store.close();
  expect([...(await collect()).names].sort()).toEqual(namesOf(disks).sort());
  expect(await present()).toEqual([]);
});

it("an image keeps its disks and those that it is built on, and takes them along when it goes", async () => {
  const image = await test.image([file("a"), file("b")], 1);
  const disks = await disksFor(image);
  const stray = await disksFor(await test.image([file("c")]));
  await put(image, "kept");
  await test.store.close();
  expect((await collect()).names).toEqual(namesOf(stray));
  expect(await present()).toEqual(namesOf(disks).sort());
  await other.remove("kept");
  expect((await collect()).names).toHaveLength(2);
});

it("a base that has been compacted into a larger one goes, unless another image stands on it", async () => {
  const below = await test.image([file("a")]);
  const middle = await test.image([file("a"), file("b")], 1);
  const top = await test.image([file("a"), file("b"), file("c")], 1);
  const [old] = namesOf(await disksFor(below));
  await put(below, "below");
  await put(middle, "middle");
  await put(top, "top");
  const over = namesOf(await disksFor(middle));
  // As when what was added outgrows the base: the whole of it becomes one disk.
  const [compacted] = namesOf(await disksFor({ ...top, baseLayers: 3 }));
  await test.store.close();
  expect((await collect()).names).toEqual([]);
  await other.remove("below");
  expect((await collect()).names).toEqual([]);
  expect(over).toEqual([old, expect.stringMatching(/^delta-/)]);
  await other.remove("middle");
  expect([...(await collect()).names].sort()).toEqual([...over].sort());
  expect(await present()).toEqual([compacted]);
});

it("what the caller needs stays, and a dry run only tells", async () => {
  const disks = await disksFor(await test.image([file("a")]));
  const stray = await disksFor(await test.image([file("c")]));
  await test.store.close();
  const keep = async () => disks.lowers.map((lower) => lower.path);
  const told = await collectDisks(test.home, other, { dryRun: true, keep });
  expect(told.names).toEqual(namesOf(stray));
  expect(told.bytes).toBeGreaterThan(0);
  expect(await present()).toHaveLength(2);
  expect(await collectDisks(test.home, other, { keep })).toEqual(told);
  expect(await present()).toEqual(namesOf(disks));
});

it("a disk that a dead process was writing is swept, one that is being written is not", async () => {
  const dead = path.join(test.home.disks, ".tmp-999999999-0123456789ab-base-x.ext4");
  const alive = path.join(test.home.disks, `.tmp-${process.pid}-0123456789ab-base-x.ext4`);
  for (const name of [dead, alive]) await writeFile(name, "half");
  await collect();
  expect(await readdir(test.home.disks)).toEqual([path.basename(alive)]);
});

it("disks that were collected are made again when they are asked for", async () => {
  const image = await test.image([file("a")]);
  const before = await disksFor(image);
  await test.store.close();
  await collect();
  expect(await disksFor(image)).toEqual(before);
  expect((await collect()).names).toEqual([]);
});

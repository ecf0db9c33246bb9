import { randomBytes } from "node:crypto";
import { open, readFile, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createExt4Writer } from "../../../src/ext4/index.js";
import { commitInstance, diffInstance } from "../../../src/instance/commit.js";
import { createInstance, disksOfInstances, filesOf } from "../../../src/instance/store.js";
import type { InstanceConfig } from "../../../src/instance/types.js";
import { ensureRootDisks } from "../../../src/rootfs/disks.js";
import { openTreeView } from "../../../src/rootfs/tree-view.js";
import { pushTree } from "../../../src/rootfs/view.js";
import type { TreeEntry } from "../../../src/support/tree.js";
import { instanceConfig } from "../../helpers/instance-config.js";
import type { Layer } from "../../helpers/layer-stacks.js";
import { bytePath, MemoryTree } from "../../helpers/memory-tree.js";
import { openTestStore, type TestStore } from "../../helpers/stored-layers.js";

let test: TestStore;
beforeEach(async () => {
  test = await openTestStore();
});
afterEach(async () => await test[Symbol.asyncDispose]());

const entry = (name: string, shape: Partial<TreeEntry> = {}): TreeEntry => ({
  path: bytePath(name),
  type: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { sec: 5, nsec: 7 },
  size: 0,
  ...shape,
});
const file = (name: string, content: string) => ({
  entry: entry(name, { type: "file", mode: 0o644, size: content.length }),
  content,
});
const whiteout = (name: string) => ({
  entry: entry(name, { type: "char", mode: 0, devMajor: 0, devMinor: 0 }),
  content: "",
});
const directory = (name: string) => ({ entry: entry(name), content: "" });

const image: Layer = [directory("etc"), file("etc/motd", "hello\n"), file("etc/old", "x"), directory("srv")];

/** An instance of an image, with what it would have written if it had run. */
async function instance(written: Layer | undefined, change: Partial<InstanceConfig> = {}): Promise<InstanceConfig> {
  const made = await test.image([image]);
  const stored = await test.store.putImage(
    {
      config: {
        architecture: "amd64",
        os: "linux",
        ...made.config,
        config: { Cmd: ["sh"], Env: ["A=1"] },
        history: [{ created_by: "base" }],
      },
      layers: made.layers,
    },
    ["base"],
  );
  const { chainId, lowers } = await ensureRootDisks(test.home, test.store, made);
  const config: InstanceConfig = {
    ...instanceConfig,
    image: { reference: "base", digest: stored.target.digest, chainId, lowers },
    ...change,
  };
  await createInstance(test.home, config);
  if (!written) return config;
  await using disk = await open(filesOf(test.home, config.id).disk, "wx");
  await using writer = createExt4Writer({ fd: disk.fd }, { uuid: randomBytes(16), sizeBytes: 64 << 20 });
  for (const name of ["upper", "work"]) writer.entry(entry(name));
  writer.entry(whiteout("upper/lost+found").entry);
  for (const part of written) {
    writer.entry({ ...part.entry, path: bytePath(`upper/${part.entry.path}`) });
    if (part.content !== "") writer.data(Buffer.from(part.content));
  }
  await writer.finish();
  return config;
}

const written: Layer = [
  directory("etc"),
  file("etc/motd", "changed\n"),
  whiteout("etc/old"),
  directory("srv"),
  directory("srv/new"),
  file("srv/new/page", "<p>"),
];

const lines = async (name = "web") => (await diffInstance(test.home, name)).map(({ kind, path }) => `${kind} ${path}`);
const commit = (options: Partial<Parameters<typeof commitInstance>[3]> = {}) =>
  commitInstance(test.home, test.store, "web", {
    reference: "mine",
    changes: [],
    message: undefined,
    author: undefined,
    created: "2026-01-02T03:04:05Z",
    ...options,
  });

async function listing(...from: Parameters<typeof openTreeView>): Promise<string[]> {
  await using view = await openTreeView(...from);
  const tree = new MemoryTree();
  await pushTree(view, tree);
  // The root directory's own attributes are no change.
  return tree.listing().slice(1);
}

it("diff tells what was added, changed and deleted, parents first", async () => {
  await instance(written);
  expect(await lines()).toEqual(["C /etc", "C /etc/motd", "D /etc/old", "C /srv", "A /srv/new", "A /srv/new/page"]);
});

it("diff of an instance that never booted is empty", async () => {
  await instance(undefined);
  expect(await lines()).toEqual([]);
});

it("places where something was mounted are not the instance's doing", async () => {
  await instance([directory("data"), file("cert", "")], {
    volumes: [{ kind: "volume", name: "v", target: "/data", readOnly: false }],
    secrets: [
      {
        name: "cert",
        source: { kind: "store" },
        delivery: { kind: "file", path: "/cert", mode: 0o400 },
        required: true,
      },
    ],
  });
  expect(await lines()).toEqual([]);
});

it("commit makes an image whose tree is the instance's, with a layer and a line of history for it", async () => {
  const config = await instance(written);
  const made = await commit({ changes: ['CMD ["node"]', "ENV B=2"], message: "by hand", author: "me" });
  expect(made.names).toEqual(["docker.io/library/mine:latest"]);
  expect(made.config.config).toMatchObject({ Cmd: ["node"], Env: ["A=1", "B=2"] });
  expect(made.config.history).toEqual([
    { created_by: "base" },
    { created: "2026-01-02T03:04:05Z", created_by: "app", author: "me", comment: "by hand" },
  ]);
  expect(made.manifest.layers).toHaveLength(2);
  const disks = await ensureRootDisks(test.home, test.store, { config: made.config, layers: made.manifest.layers });
  expect(await listing(disks)).toEqual(await listing(config.image, filesOf(test.home, config.id).disk));
});

it("commit of an instance that changed nothing adds no layer", async () => {
  await instance([]);
  const made = await commit({ reference: undefined });
  expect(made.names).toEqual([]);
  expect(made.manifest.layers).toHaveLength(1);
  expect(made.config.history?.at(-1)).toMatchObject({ empty_layer: true });
});

it("an instance whose image is gone can't be committed", async () => {
  await instance(written);
  await test.store.remove("base");
  await expect(commit()).rejects.toMatchObject({ code: "IMAGE_GONE" });
});

it("the disks of an instance and of its rollback are needed", async () => {
  const config = await instance(undefined);
  const before = JSON.parse(await readFile(filesOf(test.home, config.id).config, "utf8")) as InstanceConfig;
  const old = { ...before, image: { ...before.image, lowers: [{ ...before.image.lowers[0]!, path: "/old.ext4" }] } };
  await writeFile(filesOf(test.home, config.id).previousConfig, JSON.stringify(old));
  expect(await disksOfInstances(test.home)).toEqual([config.image.lowers[0]!.path, "/old.ext4"]);
});

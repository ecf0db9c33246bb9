import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { ensureRootDisks } from "../../../src/rootfs/disks.js";
import { hostView } from "../../../src/rootfs/host-tree.js";
import { pushTree } from "../../../src/rootfs/view.js";
import { fsckComplaints, withMount } from "../../helpers/loop-mount.js";
import { bytePath } from "../../helpers/memory-tree.js";
import { openTestStore, type TestStore } from "../../helpers/stored-layers.js";
import { hostTreeLines } from "../../helpers/tree-lines.js";

/**
 * npm itself is such a tree, some thousand files. AEGIS_TEST_TREE names a larger one, made by `npm install --global --prefix DIR
 * openclaw` for example.
 */
const npm = () => execFileSync("sh", ["-c", 'realpath "$(command -v npm)"'], { encoding: "utf8" }).trim();
const tree = process.env.AEGIS_TEST_TREE ?? path.resolve(npm(), "../..");

let test: TestStore;
beforeAll(async () => {
  test = await openTestStore();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});
afterAll(async () => await test[Symbol.asyncDispose]());

async function hashOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

it("a tree that npm installed is on the disk as it was on the host, and the disk has the same bytes another day", async () => {
  const image = await test.image([[], (sink) => pushTree(hostView(tree), sink)]);
  const assemble = async () => (await ensureRootDisks(test.home, test.store, image)).lowers[0]!.path;

  const disk = await assemble();
  expect(fsckComplaints(disk)).toBe("");
  const seen = await withMount(disk, (mounted) => hostTreeLines(mounted, { skip: ["lost+found"] }));
  expect(seen.length).toBeGreaterThan(1000);
  expect(seen).toEqual(hostTreeLines(tree));

  const digest = await hashOf(disk);
  await rm(disk);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 400 * 86_400_000 });
  vi.stubEnv("TZ", "Pacific/Kiritimati");
  expect(await hashOf(await assemble())).toBe(digest);
}, 900_000);

it("a directory of the host with an attribute whose name is no text is refused, not altered", async () => {
  const directory = path.join(test.home.tmp, "host");
  mkdirSync(directory);
  const set = (name: string) =>
    execFileSync("sh", ["-c", `touch "$0/file" && setfattr -n "user.$(printf '${name}')" -v 1 "$0/file"`, directory]);
  const names = async () => [...((await hostView(directory).lookup(bytePath("file")))!.entry.xattrs?.keys() ?? [])];
  set("\\303\\244");
  expect(await names()).toEqual(["user.\xc3\xa4"]);
  set("\\377");
  await expect(names()).rejects.toMatchObject({ code: "XATTR_NAME" });
});

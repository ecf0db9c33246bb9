import { lstatSync, readdirSync } from "node:fs";
import path from "node:path";
import { Readable, Writable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type HomeUsage, measureHome } from "../../../src/cli/disk-usage.js";
import { execute } from "../../../src/cli/main.js";
import { BuildSandbox } from "../../helpers/build-sandbox.js";

let sandbox: BuildSandbox;
beforeEach(() => {
  sandbox = new BuildSandbox();
  vi.stubEnv("AEGIS_HOME", sandbox.home.root);
});
afterEach(() => {
  vi.unstubAllEnvs();
  sandbox[Symbol.dispose]();
});

async function prune(...flags: string[]): Promise<void> {
  const quiet = () => new Writable({ write: (_chunk, _encoding, done) => done() }) as unknown as NodeJS.WriteStream;
  const stdin = Readable.from([]) as unknown as NodeJS.ReadStream;
  expect(await execute(["prune", "--force", ...flags], { stdin, stdout: quiet(), stderr: quiet() })).toBe(0);
}

/** Bytes that files take, as `du` counts. */
function taken(...parts: string[]): number {
  const below = readdirSync(path.join(sandbox.home.root, ...parts), { recursive: true, withFileTypes: true });
  return below
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + lstatSync(path.join(entry.parentPath, entry.name)).blocks * 512, 0);
}

const rowOf = (usage: HomeUsage, type: string) => usage.kinds.find((it) => it.type === type)!;
const big = (seed: number) => Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * i * seed) >>> 7));

/** Two images over one layer of 50 kB, each with one of its own; a third that lost its name and is only cached. */
async function buildThree(): Promise<void> {
  sandbox.write({ common: big(3), one: big(5), two: big(7), three: big(11) });
  const make = (name: string) =>
    sandbox.build(`FROM scratch\nCOPY common /\nCOPY ${name} /\n`, { tags: [`${name}:1`] });
  for (const name of ["three", "one", "two"]) await make(name);
}

test("df counts what images share once, and each image's share of it", async () => {
  await buildThree();
  const usage = await measureHome(sandbox.home);
  expect(rowOf(usage, "Images")).toMatchObject({ total: 3, active: 0, size: taken("images/blobs") });
  for (const image of usage.images) {
    expect(image.shared).toBeGreaterThan(10_000);
    expect(image.shared).toBeLessThan(image.size);
  }
  const unique = usage.images.reduce((sum, image) => sum + image.size - image.shared, 0);
  expect(unique + usage.images[0]!.shared).toBe(taken("images/blobs"));
});

test("what only cached steps lead to is the build cache's, and goes with it", async () => {
  await buildThree();
  await sandbox.build("FROM scratch\nCOPY common /\nCOPY two /\n", { tags: ["three:1"] });
  await prune();
  const usage = await measureHome(sandbox.home);
  expect(rowOf(usage, "Images").total).toBe(2);
  expect(rowOf(usage, "Build cache").reclaimable).toBeGreaterThan(40_000);
  expect(rowOf(usage, "Images").size).toBeLessThan(taken("images/blobs"));
});

test("reclaimable is what prune -a frees", async () => {
  await buildThree();
  const of = async () => ["images/blobs", "disks", "cache"].map((part) => taken(part)).reduce((a, b) => a + b);
  const before = await of();
  const { kinds } = await measureHome(sandbox.home);
  await prune("--all");
  expect(before - (await of())).toBe(kinds.reduce((sum, it) => sum + it.reclaimable, 0));
});

test("prune takes old images only, or the oldest until the store is small enough", async () => {
  await buildThree();
  const images = async () => rowOf(await measureHome(sandbox.home), "Images").total;
  await prune("--all", "--filter", "until=1h");
  expect(await images()).toBe(3);
  await prune("--all", "--keep-storage", "1t");
  expect(await images()).toBe(3);
  await prune("--all", "--keep-storage", "1k");
  expect(await images()).toBe(0);
  // The layers of cached steps stay: only a plain -a empties the build cache.
  expect(taken("images/blobs")).toBeGreaterThan(40_000);
  await prune("--all", "--filter", "until=0s");
  expect((await sandbox.build("FROM scratch\nCOPY common /\nCOPY one /\n")).ran).toEqual([]);
});

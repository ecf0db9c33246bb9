import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createInstance } from "../../../src/instance/store.js";
import {
  createVolume,
  findVolume,
  listVolumes,
  pruneVolumes,
  removeVolume,
} from "../../../src/instance/volume-store.js";
import { lockVolume, volumeFiles } from "../../../src/instance/volumes.js";
import { type AegisHome, openHome } from "../../../src/support/home.js";
import { instanceConfig } from "../../helpers/instance-config.js";

let home: AegisHome;
beforeEach(async () => {
  home = openHome({ AEGIS_HOME: await mkdtemp(path.join(tmpdir(), "aegis-volumes-")) });
});
afterEach(async () => {
  await rm(home.root, { recursive: true, force: true });
  await rm(home.sockets, { recursive: true, force: true });
});

const names = async () => (await listVolumes(home)).map(({ name }) => name);
const mount = (name: string) => ({ kind: "volume", name, target: "/data", readOnly: false }) as const;

it("a volume is made once and shows what it takes", async () => {
  expect(await createVolume(home, "data")).toBe(true);
  expect(await createVolume(home, "data")).toBe(false);
  await writeFile(volumeFiles(home, "data").disk, Buffer.alloc(8192, 1));
  expect(await findVolume(home, "data")).toMatchObject({ name: "data", size: 8192, capacity: 8192, usedBy: [] });
  await expect(createVolume(home, "../x")).rejects.toMatchObject({ code: "BAD_VOLUME" });
  await expect(findVolume(home, "other")).rejects.toMatchObject({ code: "VOLUME_UNKNOWN" });
});

it("what an instance mounts is neither removed nor pruned", async () => {
  for (const name of ["a", "b", "c"]) await createVolume(home, name);
  await createInstance(home, { ...instanceConfig, volumes: [mount("b")] });
  await expect(removeVolume(home, "b")).rejects.toMatchObject({ code: "VOLUME_BUSY" });
  await removeVolume(home, "a");
  expect(await names()).toEqual(["b", "c"]);
  expect((await pruneVolumes(home)).map(({ name }) => name)).toEqual(["c"]);
  expect(await names()).toEqual(["b"]);
});

it("a volume that somebody holds stays", async () => {
  await createVolume(home, "a");
  await using _lock = await lockVolume(home, "a");
  expect(await pruneVolumes(home)).toEqual([]);
  await expect(removeVolume(home, "a")).rejects.toMatchObject({ code: "VOLUME_BUSY" });
  expect(await names()).toEqual(["a"]);
});

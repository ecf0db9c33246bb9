import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, stat } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createExt4Writer } from "../../../src/ext4/index.js";
import { createInstance, filesOf } from "../../../src/instance/store.js";
import { openImageStore } from "../../../src/oci/store.js";
import { ensureRootDisks } from "../../../src/rootfs/disks.js";
import { openHome } from "../../../src/support/home.js";
import { type AegisUnderTest, aegisUnderTest } from "../../helpers/aegis-cli.js";
import { instanceConfig } from "../../helpers/instance-config.js";
import { checkFilesystem, mountImage } from "../../helpers/kernel-mounts.js";
import { hostTreeLines, treeEntry } from "../../helpers/tree-lines.js";

const run = promisify(execFile);
let aegis: AegisUnderTest;
beforeAll(async () => {
  aegis = await aegisUnderTest();
  await aegis.importBase("busybox:latest", "base");
});
afterAll(async () => await aegis.dispose());

/** Disks have a /lost+found of their own, and the root's own attributes are the unpacking tool's. */
const filesIn = (directory: string) =>
  hostTreeLines(directory, { skip: ["lost+found"] }).filter((line) => !line.startsWith('"" '));

async function unpackWithUmoci(image: string, name: string): Promise<string> {
  const layout = path.join(aegis.scratch, `${name}-layout`);
  const bundle = path.join(aegis.scratch, `${name}-bundle`);
  await aegis.ok("save", "-o", `oci:${layout}`, image);
  const { stdout } = await run("umoci", ["ls", "--layout", layout]);
  await run("umoci", ["unpack", "--image", `${layout}:${stdout.trim().split("\n")[0]}`, bundle]);
  return path.join(bundle, "rootfs");
}

/** An instance that never ran, with a file changed, a file removed and a directory made on its disk. */
async function instanceOnDisk(): Promise<void> {
  const home = openHome(aegis.env);
  const store = await openImageStore(home.images);
  try {
    const image = (await store.resolve("base"))!;
    const disks = await ensureRootDisks(home, store, { config: image.config, layers: image.manifest.layers });
    const config = {
      ...instanceConfig,
      image: { reference: "base", digest: image.target.digest, chainId: disks.chainId, lowers: disks.lowers },
    };
    await createInstance(home, config);
    await using disk = await open(filesOf(home, config.id).disk, "wx");
    await using writer = createExt4Writer({ fd: disk.fd }, { uuid: randomBytes(16), sizeBytes: 64 << 20 });
    for (const name of ["upper", "work", "upper/bin", "upper/made"]) writer.entry(treeEntry(name, "directory"));
    writer.entry(treeEntry("upper/bin/wget", "char", { mode: 0, devMajor: 0, devMinor: 0 }));
    writer.entry(treeEntry("upper/made/here", "file", { size: 3, mode: 0o600, uid: 1000 }));
    writer.data(Buffer.from("hi\n"));
    await writer.finish();
  } finally {
    await store.close();
  }
}

it("an exported disk is clean, mounts, and holds what umoci unpacks", async () => {
  const disk = path.join(aegis.scratch, "base.ext4");
  await aegis.ok("export", "--disk", disk, "base");
  await checkFilesystem(disk);
  await using mounted = await mountImage(disk);
  expect(filesIn(mounted.path)).toEqual(filesIn(await unpackWithUmoci("base", "base")));
});

it("a committed instance unpacks elsewhere to what its own export holds", async () => {
  await instanceOnDisk();
  expect((await aegis.ok("diff", "web")).split("\n")).toEqual(["C /bin", "D /bin/wget", "A /made", "A /made/here"]);
  await aegis.ok("commit", "-m", "by hand", "--change", 'CMD ["true"]', "web", "mine");
  const unpacked = filesIn(await unpackWithUmoci("mine", "mine"));
  const disk = path.join(aegis.scratch, "web.ext4");
  await aegis.ok("export", "--disk", disk, "--size", "256m", "web");
  expect((await stat(disk)).size).toBe(256 << 20);
  await checkFilesystem(disk);
  await using mounted = await mountImage(disk);
  expect(filesIn(mounted.path)).toEqual(unpacked);
  const tar = path.join(aegis.scratch, "web.tar");
  await aegis.ok("export", "-o", tar, "web");
  const extracted = path.join(aegis.scratch, "extracted");
  await mkdir(extracted);
  await run("tar", ["-xpf", tar, "-C", extracted]);
  expect(filesIn(extracted)).toEqual(unpacked);
});

it("prune leaves the disks of images and instances, and takes those that nothing needs", async () => {
  const disks = path.join(aegis.home, "disks");
  const present = async () => (await readdir(disks)).filter((name) => name.endsWith(".ext4"));
  await aegis.importBase("busybox:latest", "other", "ENV A=1");
  const before = await present();
  await aegis.ok("prune", "-f");
  expect(await present()).toEqual(before);
  await aegis.ok("rm", "web");
  await aegis.ok("rmi", "base", "mine", "other");
  const df = JSON.parse(await aegis.ok("system", "df", "--format", "json")) as {
    kinds: { type: string; reclaimable: number }[];
  };
  expect(df.kinds.find(({ type }) => type === "Image disks")!.reclaimable).toBeGreaterThan(0);
  await aegis.ok("prune", "-f");
  expect(await present()).toEqual([]);
});

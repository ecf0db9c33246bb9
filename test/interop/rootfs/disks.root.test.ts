import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, watch } from "node:fs";
import { mkdir, mkdtemp, open, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { buildThreads } from "../../../scripts/build-threads.mjs";
import { bundle } from "../../../scripts/bundle.mjs";
import { readChunks } from "../../../src/oci/read-chunks.js";
import { decodeTar } from "../../../src/oci/tar/decode.js";
import { diffUpper } from "../../../src/rootfs/diff.js";
import { ensureRootDisks, type RootImage } from "../../../src/rootfs/disks.js";
import { exportMergedDisk } from "../../../src/rootfs/export.js";
import { hostView } from "../../../src/rootfs/host-tree.js";
import { openTreeView, openUpper } from "../../../src/rootfs/tree-view.js";
import { pushTree, type TreeView } from "../../../src/rootfs/view.js";
import { createWritableDisk } from "../../../src/rootfs/writable.js";
import type { ByteString } from "../../../src/support/brands.js";
import type { TreeEntry, TreeSink } from "../../../src/support/tree.js";
import { baseImage } from "../../helpers/base-images.js";
import { checkFilesystem, mountImage, mountRoot } from "../../helpers/kernel-mounts.js";
import { layerStacks, modelOf } from "../../helpers/layer-stacks.js";
import { MemoryTree } from "../../helpers/memory-tree.js";
import { openTestStore, type TestStore } from "../../helpers/stored-layers.js";
import { treeEntry } from "../../helpers/tree-lines.js";

const run = promisify(execFile);
let test: TestStore;
beforeAll(async () => {
  test = await openTestStore();
});
afterAll(async () => await test[Symbol.asyncDispose]());

const root = "" as ByteString;
const lostFound = "lost+found" as ByteString;

async function listingOf(view: TreeView): Promise<string[]> {
  const tree = new MemoryTree();
  await pushTree(view, tree);
  return withoutLinks(tree);
}

/** Overlays part the names of one file when one of them is copied up; mounted disks have a /lost+found of their own. */
function withoutLinks(tree: MemoryTree): string[] {
  return tree
    .listing()
    .filter((line) => !line.startsWith(`/${lostFound} `))
    .map((line) => line.replace(/ #\d+$/, ""));
}

describe("image disks", () => {
  it("show in the kernel's overlay what the layers mean, wherever the base ends", async () => {
    await fc.assert(
      fc.asyncProperty(layerStacks, fc.nat(), async (stack, at) => {
        const image = await test.image(stack, at % (stack.length + 1));
        const disks = await ensureRootDisks(test.home, test.store, image);
        // With the instance's own disk they are three: machines have few slots.
        expect(disks.lowers.length).toBeLessThanOrEqual(2);
        for (const disk of disks.lowers) await checkFilesystem(disk.path);
        const model = withoutLinks(modelOf(stack));
        await using view = await openTreeView(disks);
        expect(await listingOf(view)).toEqual(model);
        await using mounted = await mountRoot(disks);
        expect(await listingOf(hostView(mounted.path))).toEqual(model);
      }),
      { numRuns: 25 },
    );
  });

  it("are the same bytes whenever they are assembled: at once again, and on another day elsewhere", async () => {
    const image = await test.image([busybox, oneFile("etc/motd", "hello\n")], 1);
    const rounds: string[][] = [];
    try {
      for (const days of [0, 0, 400]) {
        vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + days * 86_400_000 });
        vi.stubEnv("TZ", days === 0 ? "UTC" : "Pacific/Kiritimati");
        const { lowers } = await ensureRootDisks(test.home, test.store, image);
        rounds.push(await Promise.all(lowers.map(async (lower) => await hashOf(lower.path))));
        for (const lower of lowers) await rm(lower.path);
      }
    } finally {
      vi.useRealTimers();
      vi.unstubAllEnvs();
    }
    expect(rounds[0]).toHaveLength(2);
    expect(new Set(rounds.map(String)).size).toBe(1);
  });

  it("are the same bytes from another process, on another day, in another place and with other habits", async () => {
    const image = await test.image([busybox, oneFile("etc/motd", "hello\n")], 1);
    await using script = await bundleAssembly(image, test.home.root);
    const later = path.join(test.home.tmp, "later.cjs");
    await writeFile(later, "const now = Date.now; Date.now = () => now() + 400 * 86_400_000;\n");
    const ways: readonly NodeJS.ProcessEnv[] = [
      { TZ: "UTC", LC_ALL: "C", UV_THREADPOOL_SIZE: "1" },
      { TZ: "Pacific/Kiritimati", LC_ALL: "tr_TR.UTF-8", UV_THREADPOOL_SIZE: "16", NODE_OPTIONS: `--require=${later}` },
    ];
    const hashes: string[] = [];
    for (const [index, way] of ways.entries()) {
      const mask = ["022", "077"][index];
      await run("sh", ["-c", `umask ${mask}; exec "$0" "$1"`, process.execPath, script.path], {
        env: { PATH: process.env.PATH, ...way },
      });
      const { lowers } = await ensureRootDisks(test.home, test.store, image);
      hashes.push(String(await Promise.all(lowers.map(async (lower) => await hashOf(lower.path)))));
      for (const lower of lowers) await rm(lower.path);
    }
    expect(hashes[1]).toBe(hashes[0]);
  });

  it("a one-file change leaves the base disk untouched", async () => {
    const base = await test.image([busybox]);
    const [disk] = (await ensureRootDisks(test.home, test.store, base)).lowers;
    const before = await stat(disk!.path);
    const changed = await test.image([busybox, oneFile("etc/motd", "hello\n")]);
    const disks = await ensureRootDisks(test.home, test.store, changed);
    expect(disks.lowers.map(({ kind }) => kind)).toEqual(["base", "delta"]);
    expect(disks.lowers[0]!.path).toBe(disk!.path);
    expect(await stat(disk!.path)).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs });
    expect((await stat(disks.lowers[1]!.path)).blocks * 512).toBeLessThan(300_000);
  });

  it("are assembled once for many that ask at the same time, and leave no temporary files", async () => {
    const image = await test.image([busybox, oneFile("etc/issue", "one\n")], 1);
    const all = await Promise.all(Array.from({ length: 4 }, () => ensureRootDisks(test.home, test.store, image)));
    expect(new Set(all.map((disks) => JSON.stringify(disks))).size).toBe(1);
    expect((await readdir(test.home.disks)).filter((name) => name.startsWith(".tmp"))).toEqual([]);
  });

  it("agree with what umoci unpacks", async () => {
    await fc.assert(
      fc.asyncProperty(layerStacks, async (stack) => {
        const image = await test.image(stack);
        const disks = await ensureRootDisks(test.home, test.store, image);
        const unpacked = await unpackWithUmoci(image);
        await using view = await openTreeView(disks);
        // What no entry names, umoci gives the time of unpacking.
        const timeless = (lines: readonly string[]) =>
          lines.map((line) => line.replace(/ directory (\S+ \S+) \S+/, " directory $1"));
        expect(timeless(await listingOf(view)).slice(1)).toEqual(
          timeless(await listingOf(hostView(unpacked))).slice(1),
        );
      }),
      { numRuns: 8 },
    );
  });

  it("hold a whole Debian as GNU tar unpacks it", async () => {
    const tarball = await baseImage("debian-node:22");
    const disks = await ensureRootDisks(test.home, test.store, await test.image([[], tree(tarball)]));
    await checkFilesystem(disks.lowers[0]!.path);
    const unpacked = path.join(test.home.tmp, "debian");
    await mkdir(unpacked);
    await run("tar", ["-xpf", tarball, "--xattrs", "--xattrs-include=*", "-C", unpacked]);
    await using mounted = await mountImage(disks.lowers[0]!.path);
    const facts = async (root: string) => {
      const format = "%P %y %m %U:%G %T@ %n %l";
      const { stdout } = await run(
        "find",
        [root, "-mindepth", "1", "-not", "-name", "lost+found", "-printf", `${format}\n`],
        {
          maxBuffer: 1 << 26,
          env: { LC_ALL: "C", PATH: process.env.PATH },
        },
      );
      // A directory's number of links is the filesystem's own business.
      return stdout
        .split("\n")
        .map((line) => line.replace(/^(.* d \S+ \S+ \S+) \d+/, "$1"))
        .sort();
    };
    expect(await facts(mounted.path)).toEqual(await facts(unpacked));
    const contents = async (root: string) =>
      (
        await run("sh", ["-c", "find . -xdev -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"], {
          cwd: root,
        })
      ).stdout;
    expect(await contents(mounted.path)).toBe(await contents(unpacked));
  });

  it("are finished by another process when the one that assembles them is killed", async () => {
    const image = await test.image([busybox, oneFile("var/large", "large".repeat(8 << 20))]);
    await using script = await bundleAssembly(image, test.home.root);
    const start = () => spawn(process.execPath, [script.path], { stdio: ["ignore", "ignore", "inherit"] });
    const children = Array.from({ length: 3 }, start);
    const closed = Promise.all(children.map(async (child) => await once(child, "close")));
    let killed = -1;
    const watcher = watch(test.home.disks, (_event, name) => {
      if (killed < 0) killed = children.findIndex(({ pid }) => name?.startsWith(`.tmp-${pid}-`));
      children[killed]?.kill("SIGKILL");
    });
    const statuses = await closed;
    watcher.close();
    expect(statuses.map(([status, signal]) => signal ?? status)).toEqual(
      [0, 1, 2].map((i) => (i === killed ? "SIGKILL" : 0)),
    );
    const disks = await ensureRootDisks(test.home, test.store, image);
    await checkFilesystem(disks.lowers[0]!.path);
    expect((await readdir(test.home.disks)).filter((name) => name.startsWith(".tmp"))).toEqual([]);
  });

  it("become one merged disk that holds the same tree", async () => {
    const disks = await ensureRootDisks(
      test.home,
      test.store,
      await test.image([busybox, oneFile("etc/motd", "hi\n")], 1),
    );
    const merged = path.join(test.home.tmp, "merged.ext4");
    await exportMergedDisk(disks, merged, { headroomBytes: 8 << 20 });
    await checkFilesystem(merged);
    await using view = await openTreeView(disks);
    await using mounted = await mountImage(merged);
    const seen = await listingOf(hostView(mounted.path));
    expect(seen).toEqual(await listingOf(view));
    expect(seen.some((line) => line.startsWith("/etc/motd file"))).toBe(true);
  });
});

describe("a writable disk", () => {
  const uuid = Buffer.alloc(16, 7);

  it("takes next to no bytes, and what is written over an image comes back as a layer", async () => {
    const disks = await ensureRootDisks(
      test.home,
      test.store,
      await test.image([busybox, oneFile("etc/motd", "hi\n")], 1),
    );
    const writable = path.join(test.home.tmp, "writable.ext4");
    await createWritableDisk(writable, { sizeBytes: 20 * 2 ** 30, uuid, disks });
    expect((await stat(writable)).blocks * 512).toBeLessThan(2 << 20);
    await checkFilesystem(writable);
    {
      await using mounted = await mountRoot(disks, writable);
      const at = (name: string) => path.join(mounted.path, name);
      expect(await readdir(mounted.path)).not.toContain("lost+found");
      await writeFile(at("etc/new"), "new");
      await rm(at("etc/group"));
      await rm(at("var"), { recursive: true });
      await mkdir(at("var"));
      await run("chmod", ["600", at("etc/passwd")]);
      await run("ln", [at("etc/new"), at("etc/linked")]);
      await run("ln", ["-s", "nowhere", at("symlink")]);
    }
    await checkFilesystem(writable);
    await using lower = await openTreeView(disks);
    await using upper = openUpper(writable);
    const seen = await entriesOf(upper, lower);
    expect(seen.map(({ path: name, type }) => `${name} ${type}`)).toEqual([
      "etc directory",
      "etc/.wh.group file",
      "etc/linked file",
      "etc/new hardlink",
      "etc/passwd file",
      "symlink symlink",
      "var directory",
      "var/.wh..wh..opq file",
    ]);
    await using mounted = await mountImage(writable);
    expect(await entriesOf(hostView(path.join(mounted.path, "upper")), lower)).toEqual(seen);
  });

  it("has the image's root as its own: mode, owner and time", async () => {
    const entry = treeEntry("", "directory", { mode: 0o711, uid: 3, gid: 4, mtime: { sec: 5, nsec: 6 } });
    const disks = await ensureRootDisks(test.home, test.store, await test.image([[{ entry, content: "" }]]));
    const writable = path.join(test.home.tmp, "root.ext4");
    await createWritableDisk(writable, { sizeBytes: 64 << 20, uuid, disks });
    await using view = await openTreeView(disks, writable);
    expect((await view.lookup(root))?.entry).toMatchObject({ mode: 0o711, uid: 3, gid: 4, mtime: { sec: 5, nsec: 6 } });
  });
});

function tree(tarball: string): (sink: TreeSink) => Promise<void> {
  return async (sink) => {
    const file = await open(tarball);
    try {
      await decodeTar(readChunks(file), sink);
    } finally {
      await file.close();
    }
  };
}

async function busybox(sink: TreeSink): Promise<void> {
  await tree(await baseImage("busybox:latest"))(sink);
}

/** A program that assembles `image` in the home at `root`; beside the packages, so that it finds them. */
async function bundleAssembly(image: RootImage, root: string): Promise<AsyncDisposable & { readonly path: string }> {
  const project = new URL("../../../", import.meta.url).pathname;
  const directory = await mkdtemp(path.join(project, "node_modules", ".aegis-test-"));
  const outfile = path.join(directory, "assemble.mjs");
  const contents = `
    import { ensureRootDisks } from "./rootfs/disks.ts";
    import { openImageStore } from "./oci/store.ts";
    import { openHome } from "./support/home.ts";
    const home = openHome({ AEGIS_HOME: ${JSON.stringify(root)} });
    const store = await openImageStore(home.images);
    await ensureRootDisks(home, store, ${JSON.stringify(image)});
    await store.close();
  `;
  const stdin = { contents, resolveDir: path.join(project, "src"), loader: "ts" } as const;
  await bundle({ stdin, outfile });
  await buildThreads(directory);
  return { path: outfile, [Symbol.asyncDispose]: async () => await rm(directory, { recursive: true }) };
}

function oneFile(name: string, content: string): (sink: TreeSink) => Promise<void> {
  return async (sink) => {
    sink.entry(treeEntry(name, "file", { size: content.length }));
    sink.data(Buffer.from(content));
  };
}

async function entriesOf(upper: TreeView, lower: TreeView): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  const sink = { entry: (entry: TreeEntry) => entries.push(entry), data() {}, hole() {}, drain: () => undefined };
  await diffUpper(upper, lower, sink);
  return entries;
}

async function unpackWithUmoci(image: Awaited<ReturnType<TestStore["image"]>>): Promise<string> {
  const config = { architecture: "amd64", os: "linux", config: {}, rootfs: image.config.rootfs };
  await test.store.putImage({ config, layers: image.layers }, ["umoci:test"]);
  const bundle = path.join(test.home.tmp, "bundle");
  await rm(bundle, { recursive: true, force: true });
  const { stdout } = await run("umoci", ["ls", "--layout", test.home.images]);
  const name = stdout
    .trim()
    .split("\n")
    .find((line) => line.includes("umoci"));
  await run("umoci", ["unpack", "--image", `${test.home.images}:${name}`, bundle]);
  return path.join(bundle, "rootfs");
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import type { ByteString } from "../../../src/support/brands.js";
import { imageLines, readImage, withScratch, writeImage } from "../../helpers/ext4-image.js";
import { withMount } from "../../helpers/loop-mount.js";
import { hostTreeLines, treeEntry } from "../../helpers/tree-lines.js";

const withoutLostFound = { skip: ["lost+found"] };

/** Feature sets that mke2fs can make and this kernel can mount. */
const kinds: readonly (readonly string[])[] = [
  ["-b", "4096"],
  ["-b", "1024"],
  ["-b", "2048", "-O", "^64bit"],
  ["-O", "^metadata_csum,^64bit"],
  ["-O", "inline_data"],
  ["-O", "^extents,^64bit"],
  ["-O", "bigalloc", "-C", "16384"],
  ["-O", "meta_bg,^resize_inode", "-b", "1024"],
  ["-O", "sparse_super2,^resize_inode"],
  ["-O", "ea_inode,large_dir,metadata_csum_seed"],
  ["-I", "128"],
  ["-O", "orphan_file"],
  ["-O", "^flex_bg,^resize_inode,uninit_bg,^metadata_csum"],
  ["-O", "^filetype,^dir_index"],
  ["-t", "ext3"],
];

function makeImage(file: string, options: readonly string[]): void {
  const type = options.includes("-t") ? [] : ["-t", "ext4"];
  execFileSync("mke2fs", ["-q", ...type, ...options, file, "96M"], { stdio: "pipe" });
}

const set = (name: string, value: string, file: string) =>
  execFileSync("setfattr", ["-h", "-n", name, "-v", value, file]);

/** The name of a socket stays when its process is killed. */
function bindSocket(file: string): void {
  const listen = 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
  spawnSync(process.execPath, ["-e", listen, file]);
  expect(lstatSync(file).isSocket()).toBe(true);
}

/** Some of everything. */
function populate(root: string): void {
  mkdirSync(`${root}/dir`);
  for (let i = 0; i < 400; i++) writeFileSync(`${root}/dir/${"n".repeat(i % 60)}${i}`, `content ${i}`);
  writeFileSync(`${root}/tiny`, "tiny");
  writeFileSync(`${root}/inline-and-more`, "i".repeat(120));
  writeFileSync(`${root}/large`, Buffer.alloc(3 << 20, "large"));
  writeFileSync(`${root}/sparse`, "");
  truncateSync(`${root}/sparse`, 30 << 20);
  execFileSync("dd", ["if=/dev/urandom", `of=${root}/sparse`, "bs=4096", "count=3", "seek=5000", "conv=notrunc"], {
    stdio: "pipe",
  });
  // Without extents there is no way to say "allocated but unwritten".
  spawnSync("fallocate", ["-l", "1M", `${root}/preallocated`]);
  symlinkSync("tiny", `${root}/fast`);
  symlinkSync("t".repeat(300), `${root}/slow`);
  symlinkSync("s".repeat(59), `${root}/edge`);
  linkSync(`${root}/tiny`, `${root}/dir/hard`);
  execFileSync("mknod", [`${root}/device`, "b", "259", "70000"]);
  execFileSync("mkfifo", [`${root}/fifo`]);
  // A socket, which is nobody's content, and an attribute whose name is no text.
  bindSocket(`${root}/socket`);
  execFileSync("sh", ["-c", `setfattr -n "user.$(printf '\\377\\200')" -v bytes ${root}/tiny`]);
  set("user.short", "value", `${root}/tiny`);
  set("user.long", "v".repeat(700), `${root}/tiny`);
  set("trusted.overlay.opaque", "y", `${root}/dir`);
}

/** Changes after which a journal has something to say: metadata of removed directories becomes content elsewhere. */
function churn(root: string): void {
  for (let i = 0; i < 400; i += 2) rmSync(`${root}/dir/${"n".repeat(i % 60)}${i}`);
  mkdirSync(`${root}/second`);
  for (let i = 0; i < 200; i++) writeFileSync(`${root}/second/${i}`, Buffer.alloc(5000, i));
  renameSync(`${root}/dir`, `${root}/second/dir`);
  sync(`${root}/second`);
  rmSync(`${root}/second/dir`, { recursive: true });
  for (let i = 0; i < 50; i++) writeFileSync(`${root}/after-${i}`, Buffer.alloc(9000, i));
  truncateSync(`${root}/large`, 5000);
  writeFileSync(`${root}/magic`, Buffer.alloc(20000, Buffer.from("c03b3998", "hex")));
}

function sync(target: string): void {
  const fd = openSync(target, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

describe("what the reader reads", () => {
  it.each(kinds.map((kind) => [kind.join(" "), kind] as const))(
    "is what the kernel wrote (mke2fs %s)",
    async (_, options) => {
      await withScratch(async (scratch) => {
        const image = path.join(scratch, "kernel.img");
        makeImage(image, options);
        await withMount(image, populate, "rw");
        const expected = await withMount(image, (root) => hostTreeLines(root, withoutLostFound));
        expect(await imageLines(image)).toEqual(expected);
      });
    },
  );

  it.each([...kinds.map((kind) => [`mke2fs ${kind.join(" ")}`, kind] as const), ["our own", undefined] as const])(
    "is what the kernel shows after replaying the journal of a disk that was not unmounted (%s)",
    async (_, options) => {
      await withScratch(async (scratch) => {
        const image = path.join(scratch, "live.img");
        if (options) makeImage(image, options);
        else
          await writeImage(image, (writer) => writer.entry(treeEntry("upper", "directory")), { sizeBytes: 96 << 20 });
        const killed = path.join(scratch, "killed.img");
        await withMount(
          image,
          (root) => {
            populate(root);
            sync(root);
            churn(root);
            sync(`${root}/magic`);
            copyFileSync(image, killed);
          },
          "rw",
        );
        const seen = await imageLines(killed);
        expect(await readImage(killed, (reader) => reader.wasDirty)).toBe(true);
        expect(seen).toEqual(await withMount(killed, (root) => hostTreeLines(root, withoutLostFound), "rw"));
      });
    },
  );

  it("is what `mke2fs -d` made of a directory", async () => {
    await withScratch(async (scratch) => {
      const tree = path.join(scratch, "tree");
      mkdirSync(tree);
      populate(tree);
      const image = path.join(scratch, "mke2fs.img");
      makeImage(image, ["-d", tree]);
      const expected = await withMount(image, (root) => hostTreeLines(root, withoutLostFound));
      expect(await imageLines(image)).toEqual(expected);
    });
  });

  it("gives parts of files, their holes, and what symlinks lead to", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "parts.img");
      makeImage(image, []);
      await withMount(
        image,
        (root) => {
          populate(root);
          mkdirSync(`${root}/links`);
          symlinkSync("/links/b", `${root}/links/a`);
          symlinkSync("../tiny", `${root}/links/b`);
          symlinkSync("loop", `${root}/links/loop`);
        },
        "rw",
      );
      await readImage(image, (reader) => {
        const at = (name: string) => reader.lookup(name as ByteString, { followSymlinks: true });
        expect(reader.read(at("links/a")!, 1, 100).toString()).toBe("iny");
        expect(reader.lookup("links/a" as ByteString)!.type).toBe("symlink");
        expect(at("links/../../../tiny")!.number).toBe(at("tiny")!.number);
        expect(at("tiny/below")).toBeUndefined();
        expect(() => at("links/loop")).toThrow("too many symlinks");
        expect([...reader.segments(at("sparse")!)].map(({ data }) => data)).toEqual([false, true, false]);
        expect(reader.read(at("large")!, 4090, 20).toString()).toBe("large".repeat(5).slice(4090 % 5, (4090 % 5) + 20));
      });
    });
  });
});

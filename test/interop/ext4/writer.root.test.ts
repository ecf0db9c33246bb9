import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ByteString } from "../../../src/support/brands.js";
import { imageLines, readImage, withScratch, writeImage } from "../../helpers/ext4-image.js";
import { fsckComplaints, withMount } from "../../helpers/loop-mount.js";
import { applySteps, layerSteps } from "../../helpers/random-trees.js";
import { hostTreeLines, treeEntry } from "../../helpers/tree-lines.js";
import { TreeModel } from "../../helpers/tree-model.js";

const withoutLostFound = { skip: ["lost+found"] };

/** Rewrites every directory as e2fsck likes it: other blocks, other orders, the same names. */
function optimiseDirectories(image: string): void {
  const { status, stdout } = spawnSync("e2fsck", ["-fyD", image], { encoding: "utf8" });
  // 1: it has written something.
  if (status !== 0 && status !== 1) throw new Error(stdout);
}

/** What dumpe2fs says of an image, by the words before the colon. */
function superblockFacts(image: string): Map<string, string> {
  const text = execFileSync("dumpe2fs", ["-h", image], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return new Map(
    text.split("\n").map((line) => (/^([^:]+):\s*(.*?)\s*$/.exec(line)?.slice(1) as [string, string]) ?? ["", ""]),
  );
}

/** The names of a hashed directory in the order of its index, which has to be that of the hashes. */
function hashedNames(image: string, directory: string): string[] {
  const dump = execFileSync("debugfs", ["-R", `htree_dump ${directory}`, image], {
    encoding: "latin1",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const names: string[] = [];
  let highest = 0;
  for (const [, hash, name] of dump.matchAll(/ 0x([0-9a-f]{8})-[0-9a-f]{8} \(\d+\) (\S+) /g)) {
    if (Number.parseInt(hash!, 16) < highest) throw new Error(`the hash of ${name} is below the one before it`);
    highest = Number.parseInt(hash!, 16);
    names.push(name!);
  }
  return names;
}

describe("what the writer writes", () => {
  it("is clean to e2fsck, and the kernel shows the tree that random layers describe", async () => {
    await withScratch(async (scratch) => {
      let run = 0;
      await fc.assert(
        fc.asyncProperty(layerSteps, async (steps) => {
          const image = path.join(scratch, `${run++}.img`);
          const model = new TreeModel();
          await writeImage(image, (writer) => applySteps(steps, writer, model));
          expect(fsckComplaints(image)).toBe("");
          expect(await withMount(image, (root) => hostTreeLines(root, withoutLostFound))).toEqual(model.lines());
          optimiseDirectories(image);
          expect(await imageLines(image)).toEqual(model.lines());
          rmSync(image);
        }),
        { numRuns: 25, interruptAfterTimeLimit: 60_000 },
      );
    });
  });

  it("holds a directory of 100,000 names that the kernel finds one by one, misses, adds to and removes from", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "many.img");
      const name = (i: number) => `${"x".repeat(i % 40)}-entry-${i}`;
      await writeImage(
        image,
        (writer) => {
          for (let i = 0; i < 100_000; i++) writer.entry(treeEntry(`many/${name(i)}`, "file"));
          for (let i = 0; i < 70_000; i++) writer.entry(treeEntry(`subdirectories/${i}`, "directory"));
        },
        { headroomBytes: 16 << 20 },
      );
      expect(fsckComplaints(image)).toBe("");
      const names = Array.from({ length: 100_000 }, (_, i) => name(i));
      expect(hashedNames(image, "/many").sort()).toEqual([...names].sort());
      await withMount(
        image,
        (root) => {
          const isThere = (n: string) => existsSync(`${root}/many/${n}`);
          expect(names.filter((n) => !isThere(n))).toEqual([]);
          expect(names.map((n) => `${n}x`).filter(isThere)).toEqual([]);
          for (let i = 0; i < 2000; i++) {
            writeFileSync(`${root}/many/new-${i}`, "");
            rmSync(`${root}/many/${name(i * 7)}`);
          }
        },
        "rw",
      );
      expect(fsckComplaints(image)).toBe("");
      const seen = () =>
        readImage(image, (reader) =>
          [...reader.readdir(reader.lookup("many" as ByteString)!)].map((it) => `${it.inode} ${it.name}`).sort(),
        );
      const before = await seen();
      expect(before).toHaveLength(100_000);
      optimiseDirectories(image);
      expect(await seen()).toEqual(before);
    });
  });

  it("holds a tree as deep as a path can be long", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "deep.img");
      const deepest = Array.from({ length: 1500 }, (_, i) => "dD"[i % 2]).join("/");
      await writeImage(image, (writer) => {
        writer.entry(treeEntry(`${deepest}/${"f".repeat(255)}`, "file", { size: 4 }));
        writer.data(Buffer.from("deep"));
      });
      expect(fsckComplaints(image)).toBe("");
      const lines = await imageLines(image);
      expect(lines).toHaveLength(1502);
      expect(await withMount(image, (root) => hostTreeLines(root, withoutLostFound))).toEqual(lines);
    });
  });

  it("is to dumpe2fs what it was asked to be, with the features and the journal that mke2fs would give it", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "facts.img");
      await writeImage(
        image,
        (writer) => {
          for (let i = 0; i < 100; i++) writer.entry(treeEntry(`f${i}`, "file"));
        },
        { headroomBytes: 300 << 20, label: "of aegis", hashSeed: Buffer.alloc(16, 0xab), timestamp: 1_700_000_000 },
      );
      const reference = path.join(scratch, "mke2fs.img");
      execFileSync("mke2fs", ["-q", "-t", "ext4", "-b", "4096", reference, "300M"], { stdio: "pipe" });
      const [ours, theirs] = [superblockFacts(image), superblockFacts(reference)];
      const features = (facts: Map<string, string>) => facts.get("Filesystem features")!.split(" ");
      expect(features(ours).filter((name) => !features(theirs).includes(name))).toEqual(["meta_bg"]);
      expect(features(theirs).filter((name) => !features(ours).includes(name))).toEqual(
        expect.arrayContaining(["resize_inode"]),
      );
      expect(features(ours)).toEqual(
        expect.arrayContaining(["has_journal", "dir_index", "extent", "64bit", "flex_bg", "metadata_csum"]),
      );
      for (const name of ["Total journal size", "Inode size", "Checksum type", "Default mount options"]) {
        expect([name, ours.get(name)]).toEqual([name, theirs.get(name)]);
      }
      const uuid = "00112233-4455-6677-8899-aabbccddeeff";
      expect(Object.fromEntries(ours)).toMatchObject({
        "Filesystem volume name": "of aegis",
        "Filesystem UUID": uuid,
        "Directory Hash Seed": "abababab-abab-abab-abab-abababababab",
        "Filesystem state": "clean",
      });
      // But for what the groups in it keep for themselves.
      expect(Number(ours.get("Free blocks"))).toBeGreaterThan(((300 << 20) / 4096) * 0.999);
      expect(Number(ours.get("Free inodes"))).toBeGreaterThanOrEqual((300 << 20) / 16384);
    });
  });

  it("makes an almost empty filesystem of 20 GiB out of little, which the kernel fills and resize2fs grows", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "instance.img");
      const summary = await writeImage(
        image,
        (writer) => {
          writer.entry(treeEntry("upper", "directory"));
          writer.entry(treeEntry("work", "directory"));
        },
        { sizeBytes: 20 * 2 ** 30 },
      );
      expect(summary.sizeBytes).toBe(20 * 2 ** 30);
      expect(statSync(image).size).toBe(20 * 2 ** 30);
      expect(statSync(image).blocks * 512).toBeLessThan(1 << 20);
      expect(fsckComplaints(image)).toBe("");
      await withMount(
        image,
        (root) => {
          const { bsize, bavail, ffree } = statfsSync(root);
          expect(bavail * bsize).toBeGreaterThan(19 * 2 ** 30);
          expect(ffree).toBeGreaterThan(1_000_000);
          writeFileSync(`${root}/upper/file`, Buffer.alloc(64 << 20, 1));
        },
        "rw",
      );
      execFileSync("truncate", ["-s", "40G", image]);
      execFileSync("e2fsck", ["-fy", image], { stdio: "pipe" });
      execFileSync("resize2fs", [image], { stdio: "pipe" });
      await withMount(image, (root) => {
        const { bsize, blocks } = statfsSync(root);
        expect(blocks * bsize).toBeGreaterThan(39 * 2 ** 30);
      });
      expect(fsckComplaints(image)).toBe("");
      expect((await imageLines(image)).filter((line) => line.includes('"upper/file"'))).toHaveLength(1);
    });
  });

  it("gives a filesystem of a terabyte a journal of many extents, which the kernel takes", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "terabyte.img");
      await writeImage(image, (writer) => writer.entry(treeEntry("upper", "directory")), { sizeBytes: 2 ** 40 });
      expect(superblockFacts(image).get("Total journal size")).toBe("1024M");
      expect(fsckComplaints(image)).toBe("");
      await withMount(image, (root) => writeFileSync(`${root}/upper/file`, "x"), "rw");
      expect(await imageLines(image)).toHaveLength(3);
      expect(statSync(image).blocks * 512).toBeLessThan(16 << 20);
    });
  });

  it("keeps holes as holes, and files of many extents and beyond 4 GiB in their place", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "sparse.img");
      const block = Buffer.alloc(4096, 7);
      await writeImage(image, (writer) => {
        writer.entry(treeEntry("striped", "file", { size: 3000 * 8192 }));
        for (let i = 0; i < 3000; i++) {
          writer.data(block);
          writer.hole(4096);
        }
        writer.entry(treeEntry("far", "file", { size: 6 * 2 ** 30 }));
        writer.hole(5 * 2 ** 30 - 1);
        writer.data(Buffer.from("here"));
        writer.hole(2 ** 30 - 3);
      });
      expect(fsckComplaints(image)).toBe("");
      await withMount(image, (root) => {
        expect(lstatSync(`${root}/far`).blocks).toBeLessThan(64);
        expect(lstatSync(`${root}/far`).size).toBe(6 * 2 ** 30);
        expect(
          execFileSync("dd", [`if=${root}/far`, "bs=1", `skip=${5 * 2 ** 30 - 1}`, "count=4"], {
            stdio: "pipe",
          }).toString(),
        ).toBe("here");
        const striped = createHash("sha256");
        for (let i = 0; i < 3000; i++) striped.update(block).update(Buffer.alloc(4096));
        expect(
          createHash("sha256")
            .update(readFileSync(`${root}/striped`))
            .digest("hex"),
        ).toBe(striped.digest("hex"));
      });
    });
  });

  it("leaves room for what is asked for, whatever has been removed before", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "recycled.img");
      await writeImage(
        image,
        (writer) => {
          const chunk = Buffer.alloc(1 << 20, 0x5a);
          for (let i = 0; i < 40; i++) {
            writer.entry(treeEntry(`f${i}`, "file", { size: chunk.length }));
            writer.data(chunk);
          }
          writer.beginLayer();
          for (let i = 0; i < 40; i += 2) writer.removeLower(`f${i}` as ByteString);
          writer.entry(treeEntry("small", "file", { size: 10 }));
          writer.data(Buffer.from("0123456789"));
        },
        { headroomBytes: 100 << 20 },
      );
      expect(fsckComplaints(image)).toBe("");
      expect(statSync(image).blocks * 512).toBeLessThan(24 << 20);
      await withMount(
        image,
        (root) => {
          for (let i = 0; i < 90; i++) appendFileSync(`${root}/filler`, Buffer.alloc(1 << 20, i));
          expect(readFileSync(`${root}/small`, "utf8")).toBe("0123456789");
        },
        "rw",
      );
      expect(fsckComplaints(image)).toBe("");
    });
  });

  it("says so when the host runs out of space, however far it has come", async () => {
    await withScratch(async (scratch) => {
      const full = path.join(scratch, "full");
      mkdirSync(full);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=2M", "none", full]);
      try {
        const chunk = Buffer.alloc(1 << 20, 1);
        for (const chunks of [2, 4, 20]) {
          const image = path.join(full, `${chunks}.img`);
          const written = writeImage(image, async (writer) => {
            for (let i = 0; i < 1000; i++) writer.entry(treeEntry(`${"n".repeat(200)}${i}`, "fifo"));
            writer.entry(treeEntry("file", "file", { size: chunks * chunk.length }));
            for (let i = 0; i < chunks; i++) {
              writer.data(chunk);
              await writer.drain();
            }
          });
          await expect(written).rejects.toMatchObject({ code: "EXT4_WRITE_FAILED" });
          rmSync(image);
        }
      } finally {
        execFileSync("umount", [full]);
      }
    });
  });
});

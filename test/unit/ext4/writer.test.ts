import { closeSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { createExt4Writer, type Ext4Writer } from "../../../src/ext4/index.js";
import type { ByteString } from "../../../src/support/brands.js";
import { imageLines, readImage, testUuid, withScratch, writeImage } from "../../helpers/ext4-image.js";
import { treeEntry } from "../../helpers/tree-lines.js";

const at = (path: string) => path as ByteString;
const file = (writer: Ext4Writer, path: string, content: string) => {
  writer.entry(treeEntry(path, "file", { size: content.length }));
  writer.data(Buffer.from(content));
};
const text = (image: string, path: string) =>
  readImage(image, (reader) => {
    const inode = reader.lookup(at(path), { followSymlinks: true });
    return inode && reader.read(inode, 0, inode.size).toString();
  });
const paths = async (image: string) =>
  (await imageLines(image)).map((line) => JSON.parse(line.replace(/" .*/s, '"')) as string);

describe("the ext4 writer", () => {
  it("follows a symlink in a parent's place only in the layer that made it, and never out of the tree", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "links.img");
      await writeImage(image, (writer) => {
        writer.entry(treeEntry("usr/lib", "directory"));
        writer.entry(treeEntry("lib", "symlink", { linkTarget: at("../../usr/lib") }));
        writer.entry(treeEntry("up", "symlink", { linkTarget: at("/lib") }));
        writer.entry(treeEntry("loop", "symlink", { linkTarget: at("loop") }));
        file(writer, "up/one", "1");
        file(writer, "loop/two", "2");
        writer.beginLayer();
        file(writer, "lib/three", "3");
      });
      expect(await text(image, "usr/lib/one")).toBe("1");
      expect(await text(image, "loop/two")).toBe("2");
      expect(await paths(image)).toContain("lib/three");
      expect(await paths(image)).not.toContain("usr/lib/three");
    });
  });

  it("finds a hard link's target through symlinked directories", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "links.img");
      await writeImage(image, (writer) => {
        file(writer, "usr/lib/one", "1");
        writer.entry(treeEntry("lib", "symlink", { linkTarget: at("usr/lib") }));
        writer.entry(treeEntry("two", "hardlink", { linkTarget: at("lib/one") }));
      });
      await readImage(image, (reader) => {
        expect(reader.lookup(at("two"))!.number).toBe(reader.lookup(at("usr/lib/one"))!.number);
      });
    });
  });

  it("makes lost+found, or not", async () => {
    await withScratch(async (scratch) => {
      for (const lostAndFound of [true, false]) {
        const image = path.join(scratch, `${lostAndFound}.img`);
        await writeImage(image, () => {}, { lostAndFound });
        await readImage(image, (reader) => {
          const names = [...reader.readdir(reader.lookup(at(""))!)].map(({ name }) => name);
          expect(names).toEqual(lostAndFound ? ["lost+found"] : []);
        });
      }
    });
  });

  it("keeps the content of a replaced file as long as another name has it", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "links.img");
      await writeImage(image, (writer) => {
        file(writer, "a", "old");
        writer.entry(treeEntry("b", "hardlink", { linkTarget: at("a") }));
        writer.beginLayer();
        file(writer, "a", "new");
      });
      expect([await text(image, "a"), await text(image, "b")]).toEqual(["new", "old"]);
    });
  });

  it("hides what earlier layers put into an opaque directory, however deep, and nothing of its own layer", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "opaque.img");
      await writeImage(image, (writer) => {
        for (const name of ["d/old", "d/sub/old", "d/gone/old", "e/old"]) file(writer, name, name);
        writer.beginLayer();
        file(writer, "d/sub/new", "new");
        writer.removeLowerChildren(at("d"));
        file(writer, "d/later", "later");
        file(writer, "e/new", "new");
        writer.removeLower(at("e"));
      });
      expect(await paths(image)).toEqual(["", "d", "d/later", "d/sub", "d/sub/new", "e", "e/new"]);
    });
  });

  it("reuses the blocks of removed files and leaves none of their content behind", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "reuse.img");
      const secret = Buffer.alloc(8 << 20, "removed content ");
      await writeImage(image, (writer) => {
        writer.entry(treeEntry("secret", "file", { size: secret.length }));
        writer.data(secret);
        writer.beginLayer();
        writer.removeLower(at("secret"));
        for (let i = 0; i < 100; i++) file(writer, `f${i}`, "small");
      });
      await readImage(image, (reader) => {
        expect([...reader.readdir(reader.lookup(at(""))!)]).toHaveLength(101);
      });
      expect(statSync(image).blocks * 512).toBeLessThan(1 << 20);

      expect(readFileSync(image).includes("removed content ")).toBe(false);
    });
  });

  it("grows an empty filesystem to 20 GiB sparsely", async () => {
    await withScratch(async (scratch) => {
      const image = path.join(scratch, "big.img");
      const { sizeBytes } = await writeImage(image, () => {}, { sizeBytes: 20 * 2 ** 30 });
      expect([sizeBytes, statSync(image).size]).toEqual([20 * 2 ** 30, 20 * 2 ** 30]);
      expect(statSync(image).blocks * 512).toBeLessThan(1 << 20);
    });
  });

  it("tells what it knows of a path", async () => {
    await withScratch(async (scratch) => {
      await writeImage(path.join(scratch, "lookup.img"), (writer) => {
        writer.entry(treeEntry("a/link", "symlink", { linkTarget: at("b") }));
        file(writer, "a/b", "12345");
        expect(writer.has(at("a"))).toBe(true);
        expect(writer.has(at("a/c"))).toBe(false);
        expect(writer.lookup(at("a/b"))).toMatchObject({ type: "file", size: 5, mode: 0o644 });
        expect(writer.lookup(at("a/link"))).toMatchObject({ type: "symlink", symlinkTarget: "b" });
        expect(writer.lookup(at("a/b/c"))).toBeUndefined();
      });
    });
  });

  const many = new Map(Array.from({ length: 60 }, (_, i) => [`user.${i}`, Buffer.alloc(100)] as const));
  const mistakes: readonly (readonly [string, string, (writer: Ext4Writer) => void])[] = [
    ["a name of 256 bytes", "EXT4_NAME_TOO_LONG", (w) => w.entry(treeEntry("n".repeat(256), "file"))],
    ["a path that climbs", "EXT4_BAD_PATH", (w) => w.entry(treeEntry("a/../b", "file"))],
    ["an absolute path", "EXT4_BAD_PATH", (w) => w.entry(treeEntry("/a", "file"))],
    ["an owner of more than 32 bits", "EXT4_OWNER", (w) => w.entry(treeEntry("a", "file", { uid: 2 ** 32 }))],
    ["a root that is a file", "EXT4_BAD_PATH", (w) => w.entry(treeEntry("", "file"))],
    ["a name with a zero byte", "EXT4_BAD_PATH", (w) => w.entry(treeEntry("a\0b", "file"))],
    ["a hard link to nothing", "EXT4_LINK_TARGET", (w) => w.entry(treeEntry("a", "hardlink", { linkTarget: at("b") }))],
    [
      "a hard link to a directory",
      "EXT4_LINK_TARGET",
      (w) => w.entry(treeEntry("a", "hardlink", { linkTarget: at("") })),
    ],
    ["an empty symlink", "EXT4_SYMLINK_TARGET", (w) => w.entry(treeEntry("a", "symlink", { linkTarget: at("") }))],
    [
      "too little content",
      "EXT4_CONTENT",
      (w) => {
        w.entry(treeEntry("a", "file", { size: 2 }));
        w.data(Buffer.from("1"));
        w.entry(treeEntry("b", "file"));
      },
    ],
    [
      "too much content",
      "EXT4_CONTENT",
      (w) => {
        w.entry(treeEntry("a", "file", { size: 2 }));
        w.data(Buffer.from("123"));
      },
    ],
    ["attributes beyond a block", "EXT4_XATTRS_TOO_LARGE", (w) => w.entry(treeEntry("a", "file", { xattrs: many }))],
    [
      "an impossible device",
      "EXT4_DEVICE_NUMBER",
      (w) => w.entry(treeEntry("a", "char", { devMajor: 5000, devMinor: 0 })),
    ],
    [
      "65,001 hard links",
      "EXT4_TOO_MANY_LINKS",
      (w) => {
        w.entry(treeEntry("a", "file"));
        for (let i = 0; i < 65_000; i++) w.entry(treeEntry(`l${i}`, "hardlink", { linkTarget: at("a") }));
      },
    ],
  ];
  it.each(mistakes)("refuses %s with %s", async (_, code, push) => {
    await withScratch(async (scratch) => {
      await expect(writeImage(path.join(scratch, "bad.img"), push)).rejects.toMatchObject({ code });
    });
  });

  it("refuses a file that has content", async () => {
    await withScratch(async (scratch) => {
      const target = path.join(scratch, "full");
      writeFileSync(target, "x");
      const fd = openSync(target, "r+");
      expect(() => createExt4Writer({ fd }, { uuid: testUuid })).toThrow("empty regular file");
      closeSync(fd);
    });
  });
});

import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { type Ext4Inode, openExt4 } from "../../../src/ext4/index.js";
import type { ByteString } from "../../../src/support/brands.js";
import { damage, randomNumbers, usedBlocks } from "../../helpers/damage.js";
import { memorySource, readEverything } from "../../helpers/ext4-fuzz.js";
import { withScratch, writeImage } from "../../helpers/ext4-image.js";
import { treeEntry } from "../../helpers/tree-lines.js";

/** A small image with some of everything. */
const sample = (): Promise<Buffer> =>
  withScratch(async (scratch) => {
    const file = path.join(scratch, "sample.img");
    await writeImage(file, (writer) => {
      const xattrs = new Map([
        ["user.long", Buffer.alloc(300, 1)],
        ["security.example", Buffer.from("x")],
      ]);
      writer.entry(treeEntry("deep/down", "file", { size: 20 * 8192, xattrs }));
      for (let i = 0; i < 20; i++) {
        writer.data(Buffer.alloc(4096, i));
        writer.hole(4096);
      }
      for (let i = 0; i < 300; i++) writer.entry(treeEntry(`many/entry-number-${i}`, "fifo"));
      writer.entry(treeEntry("short", "symlink", { linkTarget: "deep/down" as ByteString }));
      writer.entry(treeEntry("long", "symlink", { linkTarget: "l".repeat(200) as ByteString }));
      writer.entry(treeEntry("hard", "hardlink", { linkTarget: "deep/down" as ByteString }));
      writer.entry(treeEntry("device", "char", { devMajor: 1, devMinor: 3 }));
    });
    return readFileSync(file);
  });

const at = (image: Buffer, name: string): Ext4Inode => openExt4(memorySource(image)).lookup(name as ByteString)!;

/** Where an inode lies: its bytes are somewhere in the image, once. */
function inodeOffset(image: Buffer, name: string): number {
  return image.indexOf(at(image, name).raw);
}

/** The places of the two bytes of an entry's inode number in its directory. */
function direntOffset(image: Buffer, name: string): number {
  return image.lastIndexOf(Buffer.from(`\0${name}`.slice(1))) - 8;
}

describe("the reader of a hostile image", () => {
  it("ends with a coded error or a tree, whatever is damaged", async () => {
    const image = await sample();
    const used = usedBlocks(image);
    const random = randomNumbers(0x5eed);
    const outcomes = new Map<string | undefined, number>();
    for (let run = 0; run < 400; run++) {
      const undo = damage(image, used, random);
      const outcome = await readEverything(image, run % 4 === 0);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      undo();
    }
    expect(await readEverything(image, true)).toBeUndefined();
    expect(outcomes.get("EXT4_CORRUPT")).toBeGreaterThan(30);
  });

  it("refuses a directory that contains itself", async () => {
    const image = await sample();
    const loop = direntOffset(image, "down");
    image.writeUInt32LE(at(image, "deep").number, loop);
    expect(await readEverything(image, true)).toBe("EXT4_CORRUPT");
    expect(await readEverything(image, false)).toBe("EXT4_CORRUPT");
  });

  it("refuses files that claim the same blocks again and again", async () => {
    const image = await sample();
    const inode = inodeOffset(image, "many");
    const extents = at(image, "deep/down").raw.subarray(0x28, 0x64);
    // Thousands of blocks at the same place: a file of one extent over nearly the whole image, then its inode 300 times.
    const huge = Buffer.alloc(256);
    at(image, "deep/down").raw.copy(huge);
    huge.writeUInt32LE(0xffffffff, 4);
    extents.copy(huge, 0x28);
    huge.writeUInt16LE(1, 0x28 + 2);
    huge.writeUInt16LE(0, 0x28 + 6);
    huge.writeUInt32LE(0, 0x28 + 12);
    huge.writeUInt16LE(1000, 0x28 + 16);
    huge.writeUInt16LE(0, 0x28 + 18);
    huge.writeUInt32LE(1, 0x28 + 20);
    const first = at(image, "many/entry-number-0").number - at(image, "many").number;
    for (let i = 0; i < 300; i++) huge.copy(image, inode + (first + i) * 256);
    expect(await readEverything(image, false)).toBe("EXT4_CORRUPT");
  });

  it("refuses what is no ext4, what is cut short, and features it doesn't know", async () => {
    const image = await sample();
    expect(await readEverything(Buffer.alloc(8192), true)).toBe("EXT4_CORRUPT");
    expect(await readEverything(Buffer.alloc(10), true)).toBe("EXT4_CORRUPT");
    expect(await readEverything(image.subarray(0, image.length - 4096), true)).toBe("EXT4_CORRUPT");
    image.writeUInt32LE(image.readUInt32LE(1024 + 0x60) | 0x80000, 1024 + 0x60);
    expect(await readEverything(image, true)).toBe("EXT4_UNSUPPORTED");
  });

  it("notices a flipped bit in metadata by its checksum", async () => {
    const image = await sample();
    const inode = inodeOffset(image, "deep/down");
    image[inode + 0x10]! ^= 1;
    expect(await readEverything(image, true)).toBe("EXT4_CORRUPT");
    expect(await readEverything(image, false)).toBeUndefined();
  });
});

import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { HostTreeWriter } from "../../../src/build/host-writer.js";
import type { ByteString } from "../../../src/support/brands.js";
import { scratchDirectory } from "../../helpers/scratch.js";
import { treeEntry } from "../../helpers/tree-lines.js";

const scratch = scratchDirectory();
let out: string;

beforeEach(() => {
  out = scratch("out");
});

const link = (target: string) => ({ linkTarget: target as ByteString });

describe("a tree written as files of the host", () => {
  it("has modes, times, holes, links and second names", async () => {
    const writer = new HostTreeWriter(out);
    writer.entry(treeEntry("d", "directory", { mode: 0o1770, mtime: { sec: 1000, nsec: 0 } }));
    writer.entry(treeEntry("d/f", "file", { mode: 0o4711, mtime: { sec: 2000, nsec: 0 }, size: 7 }));
    writer.data(Buffer.from("ab"));
    writer.hole(4);
    writer.data(Buffer.from("c"));
    writer.entry(treeEntry("d/g", "hardlink", link("d/f")));
    writer.entry(treeEntry("d/l", "symlink", link("/nowhere")));
    await writer.finish();
    const [directory, file] = [lstatSync(path.join(out, "d")), lstatSync(path.join(out, "d/f"))];
    expect([directory.mode & 0o7777, directory.mtimeMs]).toEqual([0o1770, 1_000_000]);
    expect([file.mode & 0o7777, file.mtimeMs, file.nlink]).toEqual([0o4711, 2_000_000, 2]);
    expect(readFileSync(path.join(out, "d/g"), "latin1")).toBe("ab\0\0\0\0c");
    expect(lstatSync(path.join(out, "d/l")).isSymbolicLink()).toBe(true);
  });

  it("leaves devices and FIFOs out, with all their names", async () => {
    const writer = new HostTreeWriter(out);
    writer.entry(treeEntry("null", "char", { devMajor: 1, devMinor: 3 }));
    writer.entry(treeEntry("pipe", "fifo"));
    writer.entry(treeEntry("pipe2", "hardlink", link("pipe")));
    writer.entry(treeEntry("z", "file", { size: 0 }));
    await writer.finish();
    expect(readdirSync(out)).toEqual(["z"]);
  });

  it("replaces what is in the way, and writes through no link", async () => {
    const other = scratch("other");
    mkdirSync(other);
    writeFileSync(path.join(other, "kept"), "kept");
    mkdirSync(path.join(out, "file", "deep"), { recursive: true });
    symlinkSync(other, path.join(out, "d"));
    symlinkSync(path.join(other, "kept"), path.join(out, "f"));
    const writer = new HostTreeWriter(out);
    writer.entry(treeEntry("d", "directory"));
    writer.entry(treeEntry("d/kept", "file", { size: 3 }));
    writer.data(Buffer.from("new"));
    writer.entry(treeEntry("f", "file", { size: 3 }));
    writer.data(Buffer.from("new"));
    writer.entry(treeEntry("file", "file", { size: 3 }));
    writer.data(Buffer.from("new"));
    await writer.finish();
    for (const name of ["d/kept", "f", "file"]) expect(readFileSync(path.join(out, name), "utf8")).toBe("new");
    expect(readFileSync(path.join(other, "kept"), "utf8")).toBe("kept");
  });
});

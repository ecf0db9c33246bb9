import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { createTarDecoder } from "../../../src/oci/tar/decode.js";
import { createTarEncoder } from "../../../src/oci/tar/encode.js";
import { AegisError } from "../../../src/support/errors.js";
import type { TreeEntry } from "../../../src/support/tree.js";
import { fuzz, fuzzing, peakMebibytes } from "../../helpers/damage.js";
import { withScratch } from "../../helpers/ext4-image.js";
import { path as bytes, entry, file } from "../../unit/oci/trees.js";

/** Dialects that GNU tar writes. */
const dialects: readonly (readonly string[])[] = [
  ["--format=v7"],
  ["--format=ustar"],
  ["--format=gnu", "--sparse"],
  ["--format=pax", "--sparse", "--sparse-version=0.0", "--xattrs"],
  ["--format=pax", "--sparse", "--sparse-version=0.1"],
  ["--format=pax", "--sparse", "--sparse-version=1.0"],
];

function populate(root: string): void {
  mkdirSync(root);
  writeFileSync(path.join(root, "a"), "some text\n".repeat(100));
  linkSync(path.join(root, "a"), path.join(root, "hard"));
  symlinkSync("a", path.join(root, "soft"));
}

/** What only the dialects from `at` on can hold. */
function addFor(at: number, root: string): void {
  const deep = path.join(root, "d".repeat(90), "e".repeat(60));
  if (at === 1) {
    mkdirSync(deep, { recursive: true });
    execFileSync("mkfifo", [path.join(deep, "fifo")]);
  }
  if (at !== 2) return;
  writeFileSync(path.join(deep, "f".repeat(120)), "");
  const sparse = path.join(root, "sparse");
  writeFileSync(sparse, "begin");
  // More pieces than the map of an old GNU header and of its first extension hold.
  for (let i = 1; i < 30; i++) {
    truncateSync(sparse, i * 32768);
    writeFileSync(sparse, `piece ${i}`, { flag: "a" });
  }
  truncateSync(sparse, 2 << 20);
}

/** What our own encoder makes of what it has to put into extended headers. */
function ownArchive(): Buffer {
  const xattrs = new Map([
    ["security.capability", Buffer.from("0100000200040000000000000000000000000000", "hex")],
    ["user.ü", Buffer.alloc(400, "=\n")],
  ]);
  const link = bytes("t".repeat(300));
  return encode(
    [
      file("plain", "x".repeat(700)),
      file(`${"l/".repeat(120)}x`, "y", { uid: 4_294_967_294, gid: 3_000_000, mtime: { sec: -5, nsec: 1 } }),
      file("ü", "z", { xattrs, mtime: { sec: 2 ** 33, nsec: 999_999_999 } }),
      { entry: entry({ path: bytes("device"), type: "char", devMajor: 259, devMinor: 70_000 }), content: undefined },
      { entry: entry({ path: bytes("link"), type: "symlink", linkTarget: link }), content: undefined },
    ].map((made) => ({ entry: made.entry, content: made.content ? [made.content] : [] })),
  );
}

function encode(tree: Tree): Buffer {
  const chunks: Buffer[] = [];
  const encoder = createTarEncoder((chunk) => void chunks.push(Buffer.from(chunk)));
  for (const { entry, content } of tree) {
    encoder.entry(entry);
    for (const piece of content) typeof piece === "number" ? encoder.hole(piece) : encoder.data(piece);
  }
  encoder.end();
  return Buffer.concat(chunks);
}

/** Right sums over wrong headers get damage past the first check. */
function mendChecksums(tar: Buffer): void {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar.toString("latin1", at + 257, at + 262) !== "ustar") continue;
    tar.fill(" ", at + 148, at + 156);
    let sum = 0;
    for (let i = at; i < at + 512; i++) sum += tar[i]!;
    tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148);
  }
}

/** A decoded archive; content as it came, holes as numbers. */
type Tree = { readonly entry: TreeEntry; readonly content: (Buffer | number)[] }[];

/** Decodes in pieces of `step` bytes; undefined when the archive is refused. Other than coded errors are thrown. */
function decode(tar: Buffer, step: number): Tree | undefined {
  const tree: Tree = [];
  // What the decoder may say of an archive is bounded by the archive, whatever the archive claims.
  let work = tar.length;
  const did = (cost: number) => {
    work -= cost;
    if (work < 0) throw new Error("the decoder does more than the archive gives cause for");
  };
  const decoder = createTarDecoder({
    entry(entry) {
      did(1);
      tree.push({ entry, content: [] });
    },
    data(chunk) {
      did(chunk.length);
      tree.at(-1)!.content.push(Buffer.from(chunk));
    },
    hole(length) {
      did(1);
      tree.at(-1)!.content.push(length);
    },
    drain: () => undefined,
  });
  try {
    for (let at = 0; at < tar.length; at += step) decoder.write(tar.subarray(at, at + step));
    decoder.end();
  } catch (error) {
    if (error instanceof AegisError && error.code.startsWith("TAR_")) return undefined;
    throw error;
  }
  return tree;
}

const lengthOf = (piece: Buffer | number) => (typeof piece === "number" ? piece : piece.length);

/** One entry a line, its content as a digest. */
function lines(tree: Tree): string[] {
  return tree.map(({ entry, content }) => {
    const hash = createHash("sha256");
    for (const piece of content) hash.update(typeof piece === "number" ? Buffer.alloc(piece) : piece);
    const xattrs = [...(entry.xattrs ?? [])].map(([name, value]) => [name, Buffer.from(value).toString("hex")]);
    xattrs.sort();
    return JSON.stringify({ ...entry, xattrs, content: hash.digest("hex") });
  });
}

/** More than this is not written and compared. */
const mostContent = 4 << 20;

it(
  "reads damaged archives of GNU tar and its own to an end, lets no path out, and writes what it read so that it reads the same",
  async () => {
    await withScratch(async (scratch) => {
      const archives = [ownArchive()];
      const root = path.join(scratch, "tree");
      populate(root);
      for (const [i, dialect] of dialects.entries()) {
        addFor(i, root);
        const name = path.join(scratch, `${i}.tar`);
        execFileSync("tar", [...dialect, "-C", root, "-cf", name, "."], { stdio: "pipe" });
        archives.push(readFileSync(name));
      }
      for (const archive of archives) expect(decode(archive, archive.length)).toBeDefined();

      const scratchpads = archives.map((archive) => Buffer.from(archive));
      let whole = 0;
      const runs = await fuzz(archives, (archive, random) => {
        const tar = scratchpads[archives.indexOf(archive)]!;
        archive.copy(tar);
        if (random(4) > 0) mendChecksums(tar);
        const cut = random(8) === 0 ? tar.subarray(0, random(tar.length)) : tar;
        const tree = decode(cut, random(2) === 0 ? cut.length + 1 : 1 + random(5000));
        if (!tree) return;
        whole++;
        let size = 0;
        for (const { entry: it, content } of tree) {
          const length = content.reduce<number>((sum, piece) => sum + lengthOf(piece), 0);
          if (it.type === "file" ? length !== it.size : length !== 0) throw new Error(`${it.path}: ${length} bytes`);
          if (outside(it.path) || (it.type === "hardlink" && outside(it.linkTarget!))) throw new Error(it.path);
          size += length;
        }
        if (size > mostContent || random(10) > 0) return;
        const again = encode(tree);
        expect(lines(decode(again, again.length)!)).toEqual(lines(tree));
      });
      expect(whole).toBeGreaterThan(runs / 100);
      expect(peakMebibytes()).toBeLessThan(512);
    });
  },
  (fuzzing.seconds + 120) * 1000,
);

const outside = (name: string) => /^\/|(^|\/)\.\.(\/|$)|\0/.test(name);

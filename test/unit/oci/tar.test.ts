import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { extract, pack } from "tar-stream";
import { describe, expect, test } from "vitest";
import { createTarDecoder } from "../../../src/oci/tar/decode.js";
import { createTarEncoder } from "../../../src/oci/tar/encode.js";
import type { ByteString } from "../../../src/support/brands.js";
import type { TreeEntry } from "../../../src/support/tree.js";
import { entry, file, path, type Recorded, recorder, replay } from "./trees.js";

function encode(tree: readonly Recorded[]): Buffer {
  const chunks: Buffer[] = [];
  const encoder = createTarEncoder((chunk) => void chunks.push(Buffer.from(chunk)));
  replay(tree, encoder);
  encoder.end();
  return Buffer.concat(chunks);
}

function decode(tar: Buffer, step = tar.length || 1): Recorded[] {
  const sink = recorder();
  const decoder = createTarDecoder(sink);
  for (let at = 0; at < tar.length; at += step) decoder.write(tar.subarray(at, at + step));
  decoder.end();
  return sink.tree;
}

/** A raw header block with the given fields, for archives that no encoder of ours would write. */
function block(name: string, type: string, size: number, over: Readonly<Record<number, string | Buffer>> = {}): Buffer {
  const bytes = Buffer.alloc(512);
  bytes.write(name, 0, "latin1");
  bytes.write("0000644\0", 100);
  bytes.write("0000000\0", 108);
  bytes.write("0000000\0", 116);
  bytes.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  bytes.write("00000000000\0", 136);
  bytes.write(type, 156);
  bytes.write("ustar\x0000", 257);
  for (const [at, value] of Object.entries(over)) Buffer.from(value as string, "latin1").copy(bytes, Number(at));
  bytes.fill(" ", 148, 156);
  const sum = bytes.reduce((a, b) => a + b, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

const body = (content: string | Buffer): Buffer => {
  const bytes = Buffer.from(content as string, "latin1");
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
};

const pax = (...records: readonly (readonly [string, string])[]): Buffer => {
  const text = records
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      let length = rest.length;
      while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
      return `${length}${rest}`;
    })
    .join("");
  return Buffer.concat([block("PaxHeaders/x", "x", text.length), body(text)]);
};

const names = fc
  .uint8Array({ minLength: 1, maxLength: 40 })
  .map((bytes) => Buffer.from(bytes.map((b) => (b === 0 || b === 0x2f ? 0x61 : b))).toString("latin1"))
  .filter((name) => name !== "." && name !== "..");
const paths = fc.array(names, { minLength: 1, maxLength: 8 }).map((parts) => parts.join("/") as ByteString);
const entries: fc.Arbitrary<Recorded> = fc
  .record({
    path: paths,
    type: fc.constantFrom("file", "directory", "symlink", "hardlink", "char", "block", "fifo"),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 0xffff_ffff }),
    gid: fc.integer({ min: 0, max: 0xffff_ffff }),
    sec: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    nsec: fc.integer({ min: 0, max: 999_999_999 }),
    link: paths,
    content: fc.uint8Array({ maxLength: 1500 }),
    xattrs: fc.dictionary(
      fc.constantFrom("user.a", "security.capability", "user.ü", "user.\xff\xfe"),
      fc.uint8Array({ maxLength: 60 }),
    ),
  })
  .filter((it) => it.link !== it.path)
  .map((it) => {
    const type = it.type as TreeEntry["type"];
    const content = Buffer.from(type === "file" ? it.content : []);
    const xattrs = new Map(Object.entries(it.xattrs));
    return {
      content,
      entry: {
        path: it.path,
        type,
        mode: it.mode,
        uid: it.uid,
        gid: it.gid,
        mtime: { sec: it.sec, nsec: it.nsec },
        size: content.length,
        ...(type === "symlink" || type === "hardlink" ? { linkTarget: it.link } : {}),
        ...(type === "char" || type === "block" ? { devMajor: it.mode, devMinor: it.mode * 3 } : {}),
        ...(xattrs.size > 0 ? { xattrs } : {}),
      },
    };
  });

describe("what the encoder writes", () => {
  test("the decoder reads back exactly, however it is cut", () => {
    fc.assert(
      fc.property(fc.array(entries, { maxLength: 6 }), fc.integer({ min: 1, max: 3000 }), (tree, step) => {
        expect(decode(encode(tree), step)).toEqual(tree);
      }),
      { numRuns: 150 },
    );
  });

  test("is plain ustar where ustar can hold it, and ends in two zero blocks", () => {
    const tar = encode([file("etc/hosts", "127.0.0.1 localhost\n")]);
    expect(tar.length).toBe(512 * 4);
    expect(tar.toString("latin1", 257, 265)).toBe("ustar\x0000");
    expect(tar.toString("latin1", 156, 157)).toBe("0");
    expect(tar.toString("latin1", 329, 345)).toBe("0000000\x000000000\x00");
  });

  test("uses an extended header named as Go names it for what ustar can't hold", () => {
    const tar = encode([file("dir/ü", "", { mtime: { sec: 5, nsec: 500_000_000 } })]);
    expect(tar.toString("latin1", 0, 20).replace(/\0.*/, "")).toBe("dir/PaxHeaders.0");
    expect(tar.toString("utf8", 512, 512 + 31)).toBe("13 mtime=5.5\n15 path=dir/ü\n".padEnd(30, "\0"));
    expect(tar.toString("latin1", 1024, 1028)).toBe("dir/");
  });

  test("is read by tar-stream", async () => {
    const long = `${"a/".repeat(90)}end`;
    const tree = [
      file(long, "x"),
      file("b", Buffer.alloc(2000, 7)),
      { entry: entry({ path: path("d"), type: "directory" }), content: Buffer.alloc(0) },
    ];
    const seen: string[] = [];
    const reader = extract();
    reader.on("entry", (header, stream, next) => {
      seen.push(`${header.type} ${header.name} ${header.size}`);
      stream.resume();
      stream.on("end", next);
    });
    await new Promise<void>((resolve, reject) => {
      reader.on("finish", resolve);
      reader.on("error", reject);
      reader.end(encode(tree));
    });
    expect(seen).toEqual([`file ${long} 1`, "file b 2000", "directory d/ 0"]);
  });

  test("refuses content that does not add up to the size", () => {
    const encoder = createTarEncoder(() => undefined);
    encoder.entry(entry({ path: path("a"), size: 3 }));
    expect(() => encoder.data(Buffer.alloc(4))).toThrow(/more content/);
    encoder.data(Buffer.alloc(2));
    expect(() => encoder.end()).toThrow(/lacks 1 bytes/);
  });
});

describe("the decoder", () => {
  test("reads what tar-stream packs", async () => {
    const packer = pack();
    packer.entry({ name: "./a/b.txt", mode: 0o600, uid: 5, gid: 6, mtime: new Date(1e12) }, "hello");
    packer.entry({ name: "a/link", type: "symlink", linkname: "../b" });
    packer.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of packer) chunks.push(chunk as Buffer);
    const tree = decode(Buffer.concat(chunks));
    expect(tree.map((it) => [it.entry.path, it.entry.type, it.content.toString()])).toEqual([
      ["a/b.txt", "file", "hello"],
      ["a/link", "symlink", ""],
    ]);
    expect(tree[0]!.entry).toMatchObject({ mode: 0o600, uid: 5, gid: 6, mtime: { sec: 1e9, nsec: 0 } });
  });

  test.each([
    ["/etc/passwd", "etc/passwd"],
    ["../../etc/passwd", "etc/passwd"],
    ["a/../../b", "b"],
    ["./a//b/./c/", "a/b/c"],
    ["..", ""],
  ])("keeps %s inside of the tree", (name, expected) => {
    const type = expected === "" ? "5" : "0";
    expect(decode(block(name, type, 0))[0]!.entry.path).toBe(expected);
  });

  test("clamps the target of a hard link, and keeps a symlink's as it is", () => {
    const tar = Buffer.concat([block("h", "1", 0, { 157: "/../x" }), block("s", "2", 0, { 157: "../../x" })]);
    expect(decode(tar).map((it) => it.entry.linkTarget)).toEqual(["x", "../../x"]);
  });

  test("reads binary xattrs of both dialects, nanoseconds and big ids from pax records", () => {
    const tar = Buffer.concat([
      pax(
        ["SCHILY.xattr.security.capability", "\x01\0\n=\xff"],
        ["LIBARCHIVE.xattr.user.a%20b", "AAE="],
        ["LIBARCHIVE.xattr.user.%ff", "Ag=="],
        ["mtime", "-1.25"],
        ["uid", "4294967295"],
      ),
      block("f", "0", 0),
    ]);
    const { entry: it } = decode(tar)[0]!;
    expect(it.mtime).toEqual({ sec: -2, nsec: 750_000_000 });
    expect(it.uid).toBe(4_294_967_295);
    expect(it.xattrs?.get("security.capability")).toEqual(Uint8Array.from([1, 0, 10, 61, 255]));
    expect(it.xattrs?.get("user.a b")).toEqual(Uint8Array.from([0, 1]));
    expect(it.xattrs?.get("user.\xff")).toEqual(Uint8Array.from([2]));
  });

  test("reads GNU long names and base-256 numbers", () => {
    const long = "n".repeat(200);
    const tar = Buffer.concat([
      block("././@LongLink", "L", 201, { 257: "ustar  \0" }),
      body(`${long}\0`),
      block("short", "0", 0, { 257: "ustar  \0", 108: Buffer.from([0x80, 0, 0, 0, 0xff, 0, 0, 1]) }),
    ]);
    expect(decode(tar)[0]!.entry).toMatchObject({ path: long, uid: 0xff00_0001 });
  });

  test.each(["0.0", "0.1", "1.0"])("expands GNU sparse files of pax format %s", (format) => {
    const map = [4, 3, 10, 2];
    const stored = "abcde";
    const records: [string, string][] = [["GNU.sparse.size", "20"]];
    let content = body(stored);
    let size = stored.length;
    if (format === "0.0") {
      for (let i = 0; i < 4; i += 2)
        records.push(["GNU.sparse.offset", `${map[i]}`], ["GNU.sparse.numbytes", `${map[i + 1]}`]);
    } else if (format === "0.1") records.push(["GNU.sparse.map", map.join(",")]);
    else {
      records.splice(0, 1, ["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.realsize", "20"]);
      records.push(["GNU.sparse.name", "s"]);
      content = Buffer.concat([body(`2\n${map.join("\n")}\n`), body(stored)]);
      size = 512 + stored.length;
    }
    const tar = Buffer.concat([pax(...records), block("s", "0", size), content, block("after", "0", 0)]);
    for (const step of [tar.length, 7]) {
      const [sparse, after] = decode(tar, step);
      expect(sparse!.content.toString("latin1")).toBe("\0\0\0\0abc\0\0\0de\0\0\0\0\0\0\0\0");
      expect(sparse!.entry.size).toBe(20);
      expect(after!.entry.path).toBe("after");
    }
  });

  test("ignores what follows the end of the archive", () => {
    const tar = Buffer.concat([encode([file("a", "1")]), Buffer.from("anything at all")]);
    expect(decode(tar)).toHaveLength(1);
  });

  test("accepts archives without the final blocks", () => {
    expect(decode(Buffer.concat([block("a", "0", 3), Buffer.from("abc")]))).toHaveLength(1);
  });

  test.each<[string, Buffer, string]>([
    ["cut content", Buffer.concat([block("a", "0", 3), Buffer.from("ab")]), "TAR_CORRUPT"],
    ["a cut header", block("a", "0", 0).subarray(0, 100), "TAR_CORRUPT"],
    ["a wrong checksum", Buffer.concat([block("a", "0", 0)]).fill("z", 1, 2), "TAR_CORRUPT"],
    ["a lone extended header", pax(["path", "x"]), "TAR_CORRUPT"],
    ["an endless extended header", block("x", "x", 2 ** 30), "TAR_CORRUPT"],
    ["a NUL in a path", Buffer.concat([pax(["path", "a\0b"]), block("a", "0", 0)]), "TAR_CORRUPT"],
    ["an endless name", Buffer.concat([pax(["path", "a".repeat(256)]), block("a", "0", 0)]), "TAR_CORRUPT"],
    ["a file in place of the root", block(".", "0", 0), "TAR_CORRUPT"],
    ["a negative size", block("a", "0", 0, { 124: Buffer.alloc(12, 0xff) }), "TAR_CORRUPT"],
    [
      "a record that overruns",
      Buffer.concat([block("x", "x", 9), body("99 path=x"), block("a", "0", 0)]),
      "TAR_CORRUPT",
    ],
    [
      "a sparse map that overlaps",
      Buffer.concat([pax(["GNU.sparse.size", "9"], ["GNU.sparse.map", "0,3,2,1"]), block("s", "0", 4), body("abcd")]),
      "TAR_CORRUPT",
    ],
    [
      "a sparse map that lies about what is stored",
      Buffer.concat([pax(["GNU.sparse.size", "9"], ["GNU.sparse.map", "0,3"]), block("s", "0", 4), body("abcd")]),
      "TAR_CORRUPT",
    ],
    ["a device out of range", block("c", "3", 0, { 329: "7777777\0" }), "TAR_CORRUPT"],
    ["a multi-volume archive", block("a", "M", 0), "TAR_UNSUPPORTED"],
  ])("refuses %s", (_what, tar, code) => {
    expect(() => decode(tar)).toThrow(expect.objectContaining({ code }));
    expect(() => decode(tar, 13)).toThrow(expect.objectContaining({ code }));
  });

  test("never fails otherwise than coded on damaged archives, and never lets a path out", () => {
    const good = encode([file("a/b", "x".repeat(700)), file(`${"l/".repeat(80)}x`, "y", { uid: 1e7 })]);
    const noise = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(noise, fc.nat(good.length), fc.boolean(), (changes, cut, mend) => {
        const tar = Buffer.from(good);
        for (const [at, value] of changes) tar[at] = value;
        if (mend) {
          for (let at = 0; at + 512 <= tar.length; at += 512) {
            if (tar.toString("latin1", at + 257, at + 262) !== "ustar") continue;
            tar.fill(" ", at + 148, at + 156);
            const sum = tar.subarray(at, at + 512).reduce((a, b) => a + b, 0);
            tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148);
          }
        }
        try {
          for (const { entry: it } of decode(tar.subarray(0, cut))) {
            expect(it.path).not.toMatch(/^\/|(^|\/)\.\.(\/|$)|\0/);
          }
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^TAR_/) });
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe("layers recorded from BuildKit (Docker 28.5)", () => {
  test.each(["plain", "owned", "run"])("%s comes out of our encoder byte for byte", async (name) => {
    const recorded = gunzipSync(await readFile(new URL(`recorded/buildkit-${name}.tar.gz`, import.meta.url)));
    expect(encode(decode(recorded)).equals(recorded)).toBe(true);
  });
});

import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeTar } from "../../../src/oci/tar/decode.js";
import { createTarEncoder } from "../../../src/oci/tar/encode.js";
import { bytesOf, decodeText } from "../../../src/support/brands.js";
import { type Recorded, recorder } from "../../unit/oci/trees.js";
import { run } from "./fixtures.js";

let directory: string;
let tree: string;
const long = `${"d".repeat(90)}/${"e".repeat(90)}/${"f".repeat(200)}`;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "aegis-tar-"));
  tree = path.join(directory, "tree");
  await mkdir(path.join(tree, path.dirname(long)), { recursive: true });
  await mkdir(path.join(tree, "empty"), { mode: 0o700 });
  await writeFile(path.join(tree, long), "long\n");
  await writeFile(path.join(tree, "ümläut"), "text");
  await writeFile(Buffer.concat([Buffer.from(`${tree}/bytes-`), Buffer.from([0xff, 0xfe])]), "raw name");
  await link(path.join(tree, "ümläut"), path.join(tree, "zz-hard"));
  await symlink("../x".repeat(60), path.join(tree, "symlink"));
  await chown(path.join(tree, "empty"), 3_000_000, 70_000);
  await writeFile(path.join(tree, "suid"), "#!");
  await chmod(path.join(tree, "suid"), 0o4755);
  await utimes(path.join(tree, "suid"), 1_600_000_000.5, 1_600_000_000.5);
  await run("mkfifo", path.join(tree, "fifo"));
  await run("mknod", path.join(tree, "null"), "c", "1", "3");
  await run("setfattr", "-n", "user.test", "-v", "0x00ff0a", path.join(tree, "suid")).catch(() => undefined);
  const sparse = path.join(tree, "sparse");
  await writeFile(sparse, "begin");
  await truncate(sparse, 40 << 20);
  const file = await open(sparse, "r+");
  for (let i = 0; i < 60; i++) await file.write(`piece ${i}`, (i * 600 + 100) << 10);
  await file.close();
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function decodeFile(name: string): Promise<readonly Recorded[]> {
  const sink = recorder();
  const file = await open(name, "r");
  try {
    await decodeTar(file, sink);
  } finally {
    await file.close();
  }
  return sink.tree;
}

/** What the decoder said, against what the kernel says. */
async function compare(
  found: readonly Recorded[],
  root: string,
  exact: { readonly nanoseconds: boolean },
): Promise<void> {
  const content = new Map(found.map((it) => [it.entry.path, it.content]));
  for (const { entry, content: bytes } of found) {
    const at = Buffer.concat([Buffer.from(`${root}/`), bytesOf(entry.path)]);
    const stat = await lstat(at, { bigint: true });
    const shown = decodeText(entry.path);
    expect(entry.mode, shown).toBe(Number(stat.mode) & 0o7777);
    expect([entry.uid, entry.gid], shown).toEqual([Number(stat.uid), Number(stat.gid)]);
    expect(entry.mtime.sec, shown).toBe(Number(stat.mtimeNs / 1_000_000_000n));
    if (exact.nanoseconds) expect(entry.mtime.nsec, shown).toBe(Number(stat.mtimeNs % 1_000_000_000n));
    if (entry.type === "symlink") expect(decodeText(entry.linkTarget!)).toBe(await readlink(at, "utf8"));
    if (entry.type === "hardlink") expect(content.has(entry.linkTarget!)).toBe(true);
    if (entry.type === "file") expect(bytes.equals(await readFile(at)), shown).toBe(true);
    if (entry.type === "char") expect([entry.devMajor, entry.devMinor]).toEqual([1, 3]);
  }
}

describe("GNU tar", () => {
  test.each([
    ["gnu", ["--format=gnu"]],
    ["gnu with sparse files", ["--format=gnu", "-S"]],
    ["pax", ["--format=posix", "--xattrs"]],
    ["pax with sparse files 0.0", ["--format=posix", "-S", "--sparse-version=0.0"]],
    ["pax with sparse files 0.1", ["--format=posix", "-S", "--sparse-version=0.1"]],
    ["pax with sparse files 1.0", ["--format=posix", "-S", "--sparse-version=1.0"]],
  ])("writes %s, we read the same tree", async (_what, options) => {
    const archive = path.join(directory, "theirs.tar");
    await run("tar", "-C", tree, "--sort=name", ...options, "-cf", archive, ".");
    const found = await decodeFile(archive);
    expect(found.map((it) => it.entry.path)).toContain("");
    expect(found.length).toBe((await readdir(tree, { recursive: true })).length + 1);
    await compare(found, tree, { nanoseconds: options[0] === "--format=posix" });
  });

  test("reads what we write back to the same tree", async () => {
    const archive = path.join(directory, "again.tar");
    await run("tar", "-C", tree, "--sort=name", "--format=posix", "--xattrs", "-cf", archive, ".");
    const found = await decodeFile(archive);
    const chunks: Buffer[] = [];
    const encoder = createTarEncoder((chunk) => void chunks.push(Buffer.from(chunk)));
    for (const { entry, content } of found) {
      encoder.entry(entry);
      if (content.length > 0) encoder.data(content);
    }
    encoder.end();
    const ours = path.join(directory, "ours.tar");
    await writeFile(ours, Buffer.concat(chunks));
    const out = path.join(directory, "out");
    await mkdir(out);
    await run("tar", "-C", out, "--xattrs", "--xattrs-include=*", "-xpf", ours);
    await compare(found, out, { nanoseconds: true });
    await run("diff", "-r", "--no-dereference", "--exclude=fifo", "--exclude=null", tree, out);
    expect((await decodeFile(ours)).map((it) => it.entry)).toEqual(found.map((it) => it.entry));
  });
});

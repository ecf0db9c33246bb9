/**
 * The disk a guest starts from: the harness as /init and the directories that it and the kernel mount on. Nothing else is in
 * it, so one file serves every machine until the harness changes.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createExt4Writer } from "../../ext4/index.js";
import { type ByteString, encodeText } from "../../support/brands.js";
import { replaceFile } from "../../support/files.js";
import type { AegisHome } from "../../support/home.js";
import type { EntryType, TreeEntry } from "../../support/tree.js";
import { helper } from "./locate.js";

const directories = ["", "dev", "proc", "sys", "run", "tmp", "mnt", "newroot"];

/** Path of the boot disk for `program`, by default the harness. Equal programs give equal bytes. */
export async function ensureBootDisk(home: AegisHome, program = helper("aegis-harness")): Promise<string> {
  const content = await readFile(program);
  const digest = createHash("sha256").update(directories.join("\0")).update(content).digest();
  const target = path.join(home.boot, `boot-${digest.toString("hex").slice(0, 16)}.img`);
  if (existsSync(target)) return target;
  await replaceFile(target, async (file) => {
    await using writer = createExt4Writer(file, { uuid: digest.subarray(0, 16), label: "aegis-boot", journal: false });
    for (const name of directories) writer.entry(entry(encodeText(name), "directory", 0o755, 0));
    writer.entry(entry(encodeText("init"), "file", 0o755, content.length));
    writer.data(content);
    await writer.drain();
    await writer.finish();
  });
  return target;
}

const entry = (name: ByteString, type: EntryType, mode: number, size: number): TreeEntry => ({
  path: name,
  type,
  mode,
  uid: 0,
  gid: 0,
  mtime: { sec: 0, nsec: 0 },
  size,
});

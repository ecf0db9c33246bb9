import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createTarEncoder } from "../../../src/oci/tar/encode.js";
import { type AegisUnderTest, aegisUnderTest } from "../../helpers/aegis-cli.js";
import { treeEntry } from "../../helpers/tree-lines.js";

let aegis: AegisUnderTest;
beforeAll(async () => {
  aegis = await aegisUnderTest();
});
afterAll(() => aegis?.dispose());

const run = promisify(execFile);
const project = path.resolve(import.meta.dirname, "../../..");

/** The built program without the threads' own. */
async function copyProgram(): Promise<string> {
  const copy = path.join(aegis.scratch, "copy");
  for (const name of ["bin/aegis.js", "dist/main.cjs"]) {
    await mkdir(path.dirname(path.join(copy, name)), { recursive: true });
    await copyFile(path.join(project, name), path.join(copy, name));
  }
  await symlink(path.join(project, "node_modules"), path.join(copy, "node_modules"));
  return copy;
}

it("the built program decodes layers in threads, and never falls back to less without a word", async () => {
  const tar: Buffer[] = [];
  const encoder = createTarEncoder((chunk) => tar.push(Buffer.from(chunk)));
  const noise = randomBytes(3 << 20);
  encoder.entry(treeEntry("noise", "file", { size: noise.length }));
  encoder.data(noise);
  encoder.end();
  const archive = path.join(aegis.scratch, "noise.tar");
  await writeFile(archive, Buffer.concat(tar));
  await aegis.ok("import", archive, "noise");

  const copy = await copyProgram();
  const disk = path.join(aegis.scratch, "noise.ext4");
  const words = [path.join(copy, "bin/aegis.js"), "export", "--disk", disk, "noise"];
  const assemble = async () => await run(process.execPath, words, { env: aegis.env });
  await expect(assemble()).rejects.toThrow("AEGIS_E_DECODE_THREAD");
  await writeFile(path.join(copy, "dist/layer-thread.mjs"), 'throw new Error("here it is");\n');
  await expect(assemble()).rejects.toThrow("here it is");
  await copyFile(path.join(project, "dist/layer-thread.mjs"), path.join(copy, "dist/layer-thread.mjs"));
  await assemble();
});

/**
 * libkrun for real, where the host's processor has no virtualization: QEMU emulates one that has, aegis boots an image with
 * aegis in it there, and that boots a second machine with libkrun.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openHome } from "../../src/support/home.js";
import { unpackedParts } from "../../src/vmm/parts/locate.js";
import { copyAegis } from "../helpers/aegis-context.js";
import { baseImage } from "../helpers/base-images.js";

const root = path.resolve(new URL("../..", import.meta.url).pathname);
const run = promisify(execFile);
let directory: string;
let env: NodeJS.ProcessEnv;
const aegis = (...args: string[]) => run(process.execPath, [path.join(root, "bin/aegis.js"), ...args], { env });

beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), "aegis-nested-"));
  env = { ...process.env, AEGIS_HOME: path.join(directory, "home") };
});

afterAll(async () => {
  await aegis("rm", "-f", "first").catch(() => undefined);
  rmSync(openHome(env).sockets, { recursive: true, force: true });
  rmSync(directory, { recursive: true, force: true });
});

test("aegis inside a machine boots a second machine with libkrun: control port, disks, network, shared directories, pause, exit status", async () => {
  const context = path.join(directory, "context");
  cpSync(path.join(root, "test/fixtures/nested"), context, { recursive: true });
  copyAegis(path.join(context, "aegis"));
  const parts = unpackedParts(openHome({ ...env, AEGIS_HOME: path.join(homedir(), ".aegis") }))[0];
  expect(parts, "set-up has unpacked gvproxy and libkrunfw").toBeDefined();
  cpSync(parts!.root, path.join(context, "deps"), { recursive: true, verbatimSymlinks: true });
  cpSync(await baseImage("busybox:latest"), path.join(context, "busybox.tar"));
  // What libkrun links with besides the C library.
  cpSync(realpathSync(libcapNg()), path.join(context, "libcap-ng.so.0"));

  await aegis("import", await baseImage("debian-node:22"), "debian-node:22");
  await aegis("build", "-q", "-t", "nested", context);
  const first = "run --rm --name first --vmm qemu --privileged --cpus 1 -m 1536m nested".split(" ");
  const { stdout } = await aegis(...first);

  expect(stdout).toContain("served: kept");
  expect(stdout).toContain("shared: from the host sealed one file refused, one file more, sealed");
  expect(stdout).toContain("paused: 1");
  expect(stdout).toContain("resumed: kept");
  // A trim that reaches the disk's end leaves its length alone.
  expect(stdout).toContain(`disk: ${20 * 2 ** 30}`);
  expect(stdout).toContain("found what was kept");
  expect(stdout).toContain("status: 7");
});

function libcapNg(): string {
  const maps = readFileSync("/etc/ld.so.cache", "latin1");
  const found = /\/[!-~]*\/libcap-ng\.so\.0(?=\0)/.exec(maps)?.[0];
  if (!found) throw new Error("libcap-ng is not installed; libkrun needs it");
  return found;
}

import { execFileSync } from "node:child_process";
import { copyFile, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openHome } from "../../src/support/home.js";
import { ensureBootDisk } from "../../src/vmm/parts/boot-disk.js";
import { type AegisUnderTest, aegisUnderTest } from "../helpers/aegis-cli.js";
import { baseImage } from "../helpers/base-images.js";

let aegis: AegisUnderTest;
beforeAll(async () => {
  aegis = await aegisUnderTest();
  await aegis.importBase("busybox:latest", "busybox", 'CMD ["sh"]');
});
afterEach(async () => {
  expect(await aegis.leftovers()).toEqual([]);
  expect(await aegis.ok("ps", "-aq")).toBe("");
});
afterAll(() => aegis?.dispose());

async function fails(code: string, env: NodeJS.ProcessEnv, ...args: string[]) {
  const result = await aegis.runWith({ env }, ...args);
  expect(result.stderr).toContain(`[AEGIS_E_${code}]`);
  expect(result).toMatchObject({ code: 125, stdout: "" });
  return result.stderr;
}

test.each([
  ["IMAGE_NOT_FOUND", ["--pull", "never", "nosuch:1"]],
  ["BAD_REFERENCE", ["No Such"]],
  ["MEMORY_TOO_SMALL", ["--memory", "16m", "busybox"]],
  ["BAD_SIZE", ["--memory", "much", "busybox"]],
  ["BAD_PORT", ["-p", "http", "busybox"]],
  ["SECRET_MISSING", ["--secret", "NOPE", "busybox"]],
  ["BIND_MISSING", ["-v", "/no/such/dir:/x", "busybox"]],
  ["USAGE", ["--memroy", "1g", "busybox"]],
  ["NOTHING_BUILT", []],
])("%s is found before anything boots", async (code, args) => {
  await fails(code, {}, "run", ...args);
});

test("errors are JSON on standard error where asked", async () => {
  const { stderr } = await aegis.run("run", "--format", "json", "--memory", "16m", "busybox");
  expect(JSON.parse(stderr)).toMatchObject({ error: { code: "AEGIS_E_MEMORY_TOO_SMALL", hint: expect.any(String) } });
});

test("without a VMM, and without gvproxy, it says what to install", async () => {
  // The test's own files are found by absolute paths; nothing of the system is.
  await fails("VMM_MISSING", { PATH: "/nonexistent" }, "run", "busybox", "true");
  const { AEGIS_HOME, sockets } = await homeWithout("gvproxy");
  try {
    const hint = await fails("GVPROXY_MISSING", { HOME: aegis.scratch, AEGIS_HOME }, "run", "busybox", "true");
    expect(hint).toContain("aegis doctor --fix");
    await expect(readdir(sockets)).rejects.toThrow("ENOENT");
  } finally {
    await rm(sockets, { recursive: true, force: true });
  }
});

/** A second home with the same images and all private parts but one. */
async function homeWithout(part: string) {
  const { deps: from } = openHome({ ...process.env, AEGIS_HOME: undefined, HOME: homedir() });
  const root = path.join(await mkdtemp(path.join(aegis.scratch, "partless-")), "home");
  const { deps, sockets } = openHome({ ...process.env, AEGIS_HOME: root });
  const parts = JSON.parse(await readFile(path.join(from, "parts.json"), "utf8")) as Record<
    string,
    { directory: string }
  >;
  delete parts[part];
  for (const { directory } of Object.values(parts))
    await symlink(path.join(from, directory), path.join(deps, directory));
  await writeFile(path.join(deps, "parts.json"), JSON.stringify(parts));
  await aegis.runWith({ env: { AEGIS_HOME: root } }, "import", await baseImage("busybox:latest"), "busybox");
  return { AEGIS_HOME: root, sockets };
}

test("a guest that never says hello is told with the end of its console", async () => {
  // The boot disk is what the home says it is: here its program prints a line and then nothing.
  const source = path.join(aegis.scratch, "silent.c");
  await writeFile(
    source,
    `#include <fcntl.h>
#include <unistd.h>
int main(void) {
  int console = open("/dev/console", O_WRONLY);
  if (write(console, "I have nothing to say\\n", 22) < 0) return 1;
  for (;;) pause();
}
`,
  );
  const silent = path.join(aegis.scratch, "silent");
  execFileSync("gcc", ["-static", "-o", silent, source]);
  const home = openHome(aegis.env);
  await ensureBootDisk(home);
  const [real] = (await readdir(home.boot)).filter((name) => name.startsWith("boot-"));
  await copyFile(await ensureBootDisk(home, silent), path.join(home.boot, real!));
  const stderr = await fails("GUEST_SILENT", { AEGIS_BOOT_TIMEOUT: "15s" }, "run", "busybox", "true");
  expect(stderr).toContain("I have nothing to say");
});

// `npm test`: installs what is missing, then runs every check and every test, and ends with one line of totals.
// Uses nothing but Node's own modules, because it is what installs everything else.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.resolve(new URL("..", import.meta.url).pathname);
const bin = (name) => path.join(root, "node_modules/.bin", name);
const scratch = await mkdtemp(path.join(tmpdir(), "aegis-test-"));
let passed = 0;
let failed = 0;
let skipped = 0;

function run(command, args, env = {}) {
  const child = spawn(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  return new Promise((resolve) => child.on("close", (code) => resolve(code ?? 1)));
}

/** One check that either holds or does not. */
async function check(title, command, args) {
  const since = Date.now();
  console.log(`\n== ${title}`);
  const code = await run(command, args);
  console.log(`   ${code === 0 ? "ok" : `FAILED (status ${code})`} in ${((Date.now() - since) / 1000).toFixed(1)} s`);
  if (code === 0) passed++;
  else failed++;
  return code === 0;
}

/** Test files of a project that vitest.config.ts leaves out for everybody but root. */
async function rootOnly(project) {
  const files = await readdir(path.join(root, "test", project), { recursive: true });
  return files.filter((file) => file.endsWith(".root.test.ts")).map((file) => path.join("test", project, file));
}

/** One vitest project; its tests are counted one by one. */
async function suite(project) {
  const report = path.join(scratch, `${project}.json`);
  console.log(`\n== tests: ${project}`);
  if (process.getuid?.() !== 0)
    for (const file of await rootOnly(project)) console.log(`   not run, needs root: ${file}`);
  const code = await run(bin("vitest"), [
    "run",
    "--project",
    project,
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
  ]);
  const totals = await readFile(report, "utf8").then(JSON.parse, () => undefined);
  passed += totals?.numPassedTests ?? 0;
  failed += totals?.numFailedTests ?? 0;
  skipped += (totals?.numPendingTests ?? 0) + (totals?.numTodoTests ?? 0);
  if (code !== 0 && !totals?.numFailedTests) failed++;
}

try {
  if (await check("set-up", process.execPath, ["scripts/setup.mjs", "--tests"])) {
    await check("types", bin("tsc"), ["--noEmit"]);
    await check("format and lint", bin("biome"), ["check", "."]);
    await check("import direction", process.execPath, ["scripts/check-imports.mjs"]);
    await check("unused code", bin("knip"), []);
    await suite("unit");
    await check("base images", process.execPath, ["scripts/base-images.mjs"]);
    await suite("interop");
    await suite("vm");
    await suite("openclaw");
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed === 0 ? 0 : 1);

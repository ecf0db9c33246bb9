// Builds everything that runs: the bundled CLI and its threads (dist/), the guest harness and the libkrun launcher (dist/bin/).
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { build } from "esbuild";
import { buildThreads } from "./build-threads.mjs";

const root = new URL("..", import.meta.url).pathname;
const manifest = JSON.parse(await readFile(`${root}package.json`, "utf8"));
const { version, dependencies, optionalDependencies } = manifest;
const bundled = ["clipanion"];

// What is loaded by few commands stays outside; the command line's own library is needed by all.
const external = Object.keys({ ...dependencies, ...optionalDependencies }).filter((name) => !bundled.includes(name));
// A cache of other code must never stand beside the new one: V8 knows it by the length of the source alone.
await rm(`${root}dist/main.cjs.cache`, { force: true });
const built = await build({
  absWorkingDir: root,
  entryPoints: { main: "src/cli/main.ts" },
  outdir: "dist",
  outExtension: { ".js": ".cjs" },
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node20",
  external,
  mainFields: ["module", "main"],
  // As an ES module, of which only what declares commands is taken.
  alias: { clipanion: "clipanion/lib/advanced/index.mjs" },
  // Without these, import() would ask for Node's module loader, which takes its time to start.
  supported: { "dynamic-import": false },
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: "linked",
  define: { AEGIS_VERSION: JSON.stringify(version), "import.meta.url": "moduleUrl" },
  // The function that Node wraps around a module, because bin/aegis.js compiles the file itself.
  banner: {
    js: '(function (exports, require, module, __filename, __dirname) { const moduleUrl = require("node:url").pathToFileURL(__filename).href;',
  },
  footer: { js: "})" },
  logLevel: "warning",
  metafile: true,
});
const threads = await buildThreads(`${root}dist`);
for (const name of await readdir(`${root}dist`)) {
  if (!(`dist/${name}` in built.metafile.outputs) && ![...threads, "bin"].includes(name))
    await rm(`${root}dist/${name}`, { force: true, recursive: true });
}
execFileSync(process.execPath, [`${root}scripts/code-cache.cjs`, `${root}dist`], { stdio: "inherit" });

await mkdir(`${root}dist/bin`, { recursive: true });
for (const part of ["harness", "native"]) {
  if (!existsSync(`${root}${part}/Makefile`)) continue;
  execFileSync("make", ["-s", "-C", part, `OUT=${root}dist/bin`], { cwd: root, stdio: "inherit" });
}

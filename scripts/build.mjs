// Builds everything that runs: the bundled CLI and its threads (dist/), the guest harness and the libkrun launcher (dist/bin/).
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { build } from "esbuild";
import { buildThreads } from "./build-threads.mjs";

const root = new URL("..", import.meta.url).pathname;
const { version } = JSON.parse(await readFile(`${root}package.json`, "utf8"));

// Few files keep start-up fast; commands stay separate chunks that are loaded on demand.
const built = await build({
  absWorkingDir: root,
  entryPoints: { main: "src/cli/main.ts" },
  outdir: "dist",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  sourcemap: "linked",
  define: { AEGIS_VERSION: JSON.stringify(version) },
  logLevel: "warning",
  metafile: true,
});
const threads = await buildThreads(`${root}dist`);
// Chunks of earlier builds have other names and would pile up.
for (const name of await readdir(`${root}dist`)) {
  if (!(`dist/${name}` in built.metafile.outputs) && ![...threads, "bin"].includes(name))
    await rm(`${root}dist/${name}`, { force: true, recursive: true });
}

await mkdir(`${root}dist/bin`, { recursive: true });
for (const part of ["harness", "native"]) {
  if (!existsSync(`${root}${part}/Makefile`)) continue;
  execFileSync("make", ["-s", "-C", part, `OUT=${root}dist/bin`], { cwd: root, stdio: "inherit" });
}

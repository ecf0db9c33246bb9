// Records what the reference builder makes of the conformance cases: DOCKER=docker node test/conformance/record.mjs [suite...]
// Needs root (owners of files) and a docker with buildx whose daemon stores images in containerd. Results go to recorded/.
import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const work = await mkdtemp(path.join(here, ".record-"));
try {
  const outfile = path.join(work, "record.mjs");
  await build({
    entryPoints: [path.join(here, "lib/record.ts")],
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    outfile,
    logLevel: "warning",
  });
  const { record } = await import(pathToFileURL(outfile).href);
  await record(path.join(here, "recorded"), process.argv.slice(2));
} finally {
  await rm(work, { recursive: true, force: true });
}

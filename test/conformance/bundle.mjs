// Runs TypeScript of this directory with plain Node: bundles one entry into a temporary file and hands over its exports.
import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundle } from "../../scripts/bundle.mjs";

export const here = path.dirname(fileURLToPath(import.meta.url));

export async function runBundled(entry, body) {
  const work = await mkdtemp(path.join(here, ".bundle-"));
  try {
    // As deep as the sources, so that paths relative to a module lead to the same place.
    const outfile = path.join(work, "entry.mjs");
    await bundle({ entryPoints: [path.join(here, entry)], outfile });
    return await body(await import(pathToFileURL(outfile).href));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

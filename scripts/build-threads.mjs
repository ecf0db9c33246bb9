// Bundles the programs of worker threads, each into one file that lies beside the bundle that starts it.
import { rename } from "node:fs/promises";
import path from "node:path";
import { bundle } from "./bundle.mjs";

const root = path.resolve(new URL("..", import.meta.url).pathname);
const programs = { "layer-thread.mjs": "src/oci/decode/thread.ts" };

/** Builds into `directory` and gives the names of the files. */
export async function buildThreads(/** @type {string} */ directory) {
  for (const [name, entry] of Object.entries(programs)) {
    const outfile = path.join(directory, name);
    // Somebody may be starting the one that is there.
    const temporary = path.join(directory, `.${process.pid}-${name}`);
    await bundle({ entryPoints: [entry], outfile: temporary });
    await rename(temporary, outfile);
  }
  return Object.keys(programs);
}

/** For vitest: sources that run by themselves start the threads of dist/. */
export const setup = async () => void (await buildThreads(path.join(root, "dist")));

/** What was built last from or in a directory: `run` without an image takes it. */
import { createHash } from "node:crypto";
import { mkdir, realpath } from "node:fs/promises";
import path from "node:path";
import { readIfThere, replaceFile } from "../support/files.js";
import type { AegisHome } from "../support/home.js";

export interface LastBuild {
  /** Digest of the manifest. */
  readonly image: string;
  /** Its first name, or that of the context's directory. */
  readonly name: string;
}

const lastBuildFile = async (home: AegisHome, directory: string): Promise<string> => {
  const name = createHash("sha256")
    .update(await realpath(directory))
    .digest("hex")
    .slice(0, 32);
  return path.join(home.cache, "last-build", `${name}.json`);
};

export async function recordLastBuild(home: AegisHome, directory: string, build: LastBuild): Promise<void> {
  const file = await lastBuildFile(home, directory);
  const text = `${JSON.stringify(build)}\n`;
  if ((await readIfThere(file)) === text) return;
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await replaceFile(file, text);
}

/** undefined when nothing was built for the directory. */
export async function readLastBuild(home: AegisHome, directory: string): Promise<LastBuild | undefined> {
  const text = await readIfThere(await lastBuildFile(home, directory));
  return text === undefined ? undefined : (JSON.parse(text) as LastBuild);
}

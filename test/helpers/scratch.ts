/** A directory of each test's own, which is gone after it, hooks of the test's own file included. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach } from "vitest";

/** The path of a name in it. To be called where hooks are declared, before those that use the directory. */
export function scratchDirectory(): (...names: string[]) => string {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), "aegis-scratch-"));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));
  return (...names) => path.join(directory, ...names);
}

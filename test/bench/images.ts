/** A home with the busybox base image in it, for rows that go through the command line as a user does. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { ensureBaseImage } from "../../scripts/base-images.mjs";
import { type Bench, shell } from "./bench.js";

export interface CommandLine {
  readonly aegis: string;
  readonly env: { readonly AEGIS_HOME: string };
  readonly home: string;
  /** Root tarball of the base image. */
  readonly base: string;
}

/** The base image's name for every tool. */
export const baseName = "localhost/bench-base:latest";

export async function commandLine(bench: Bench): Promise<CommandLine> {
  const home = path.join(bench.scratch, "cli-home");
  await mkdir(home, { recursive: true });
  const aegis = `${process.execPath} ${path.join(bench.root, "bin/aegis.js")}`;
  const base = await ensureBaseImage("busybox:latest");
  const env = { AEGIS_HOME: home };
  await shell(`${aegis} import ${base} ${baseName}`, env);
  return { aegis, env, home, base };
}

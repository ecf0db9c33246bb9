/** Compiles parts of the harness for the host, with the sanitizers on, so that its parsers are tested where a debugger is. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const harness = new URL("../../harness/", import.meta.url).pathname;

export interface Compiled extends Disposable {
  readonly program: string;
  readonly directory: string;
}

/** `main` and `sources` are paths below harness/. */
export function compileHarness(main: string, sources: readonly string[]): Compiled {
  const directory = mkdtempSync(path.join(tmpdir(), "aegis-c-"));
  const program = path.join(directory, path.basename(main, ".c"));
  const flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"];
  const sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
  const files = [main, ...sources].map((file) => path.join(harness, file));
  try {
    execFileSync("gcc", [...flags, ...sanitizers, "-o", program, ...files], { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  return { program, directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) };
}

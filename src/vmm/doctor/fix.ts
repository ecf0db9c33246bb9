/** Mends what can be mended without asking: packages (as root), private parts, aegis's own C programs. */
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { AegisError } from "../../support/errors.js";
import type { AegisHome } from "../../support/home.js";
import { type DebName, unpackDebs } from "../parts/debs.js";
import { runProgram } from "../parts/run.js";
import { packageManager } from "./system.js";
import type { Diagnosis } from "./types.js";

export interface FixOptions {
  /** Told before each step, in words. */
  readonly onStep?: (step: string) => void;
}

/**
 * Carries out the remedies of a diagnosis. What it can't do (packages without root) it leaves; the next diagnosis shows it.
 * @throws AegisError DEBS_UNAVAILABLE, FIX_FAILED
 */
export async function fix(home: AegisHome, diagnosis: Diagnosis, options: FixOptions = {}): Promise<void> {
  const step = options.onStep ?? (() => undefined);
  const remedies = diagnosis.checks.flatMap((check) => (check.remedy ? [check.remedy] : []));
  const packages = remedies.flatMap((remedy) => (remedy.kind === "package" ? [remedy.name] : []));
  const debs = remedies.flatMap((remedy): DebName[] => (remedy.kind === "deb" ? [remedy.name] : []));
  const parts = new Set(remedies.flatMap((remedy) => (remedy.kind === "make" ? [remedy.part] : [])));
  if (packages.length > 0 && process.getuid?.() === 0) {
    step(`installing ${packages.join(", ")}`);
    await installPackages(packages);
  }
  if (debs.length > 0) {
    step(`unpacking ${debs.join(", ")} into ${home.deps}`);
    await unpackDebs(home, debs);
  }
  for (const part of parts) {
    step(`building ${part}`);
    await make(part);
  }
}

async function installPackages(names: readonly string[]): Promise<void> {
  const manager = packageManager();
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  if (manager === "dnf") return await mustRun("dnf", ["install", "-y", ...names], env);
  await mustRun("apt-get", ["-q", "update"], env);
  await mustRun("apt-get", ["-q", "install", "-y", "--no-install-recommends", ...names], env);
}

async function make(part: "harness" | "native"): Promise<void> {
  const root = packageRoot();
  await mustRun("make", ["-s", "-C", path.join(root, part), `OUT=${path.join(root, "dist/bin")}`], process.env);
}

/** Where package.json is: one or more directories above this module, bundled or not. */
function packageRoot(): string {
  let directory = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(directory, "package.json")) && directory !== "/") directory = path.dirname(directory);
  return directory;
}

async function mustRun(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const output = await runProgram(program, args, { env });
  if (output.code === 0) return;
  throw new AegisError("FIX_FAILED", `\`${[program, ...args].join(" ")}\` ended with status ${output.code}`, {
    hint: "run it by hand, or mend what it complains about, then try again",
    context: output.stderr.trim().split("\n").slice(-12).join("\n"),
  });
}

/** The reference builder: `docker buildx build` of the docker that the environment's DOCKER names. */
import { type ExecFileException, execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { baseImage, type ConformanceCase, hasFixedTimes, type Recorded } from "./case.js";
import { writeContext } from "./context.js";
import { type ReadImage, readImage, recordedOf } from "./image.js";

interface Output {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs docker with these arguments; never throws for an exit status. */
export function docker(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Output> {
  const command = process.env.DOCKER ?? "docker";
  return new Promise((resolve) => {
    const settings = {
      timeout: 120_000,
      maxBuffer: 64 << 20,
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
    };
    execFile(command, [...args], settings, (error: ExecFileException | null, stdout, stderr) => {
      resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : 1, stdout, stderr });
    });
  });
}

/** Builds one case and reads what came out. */
export async function recordWithDocker(item: ConformanceCase, base: ReadImage, time: number): Promise<Recorded> {
  const work = await mkdtemp(path.join(tmpdir(), "conformance-"));
  try {
    const context = path.join(work, "context");
    const layout = path.join(work, "layout");
    await writeContext(await directory(context), item, time);
    if (item.check) return await recordCheck(context);
    const flags = ["--progress=plain", "--network=host", "--provenance=false", "--no-cache", ...(item.flags ?? [])];
    const rewrite = hasFixedTimes(item) ? ",rewrite-timestamp=true" : "";
    const output = ["--output", `type=oci,tar=false,dest=${layout}${rewrite}`];
    const built = await docker(["buildx", "build", ...flags, ...output, "."], {
      cwd: context,
      ...(item.env ? { env: item.env } : {}),
    });
    if (built.status !== 0) return { error: errorOf(built.stderr) };
    return recordedOf(await readImage(layout), item, base);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

interface CheckResult {
  readonly warnings?: readonly {
    readonly ruleName: string;
    readonly detail?: string;
    readonly location: { readonly ranges?: readonly { readonly start: { readonly line: number } }[] };
  }[];
  readonly buildError?: { readonly message: string };
}

async function recordCheck(context: string): Promise<Recorded> {
  const checked = await docker(["buildx", "build", "--call=check,format=json", "."], { cwd: context });
  if (!checked.stdout.startsWith("{")) return { error: errorOf(checked.stderr) };
  const result: CheckResult = JSON.parse(checked.stdout);
  return {
    warnings: (result.warnings ?? []).map(({ ruleName, detail, location }) => [
      ruleName,
      detail ?? "",
      location.ranges?.[0]?.start.line ?? 0,
    ]),
    ...(result.buildError === undefined ? {} : { failure: result.buildError.message }),
  };
}

async function directory(name: string): Promise<string> {
  const { mkdir } = await import("node:fs/promises");
  await mkdir(name, { recursive: true });
  return name;
}

function errorOf(stderr: string): string {
  const line = stderr.split("\n").findLast((candidate) => candidate.startsWith("ERROR: "));
  return (line ?? stderr.slice(-300))
    .replace(/^ERROR: (failed to build: )?(failed to solve: )?/, "")
    .replace(/\S*\/(snapshots\/\d+\/fs|cachemounts\/buildkit\d+)/g, "")
    .replace(/(failed to resolve source metadata for \S+): .*/s, "$1")
    .replace(/of ref [a-z0-9]+::[a-z0-9]+/g, "of ref")
    .trim();
}

/** Imports the base image's tar under its name and reads it back as a builder sees it. */
export async function importBase(tarFile: string): Promise<ReadImage> {
  const imported = await docker(["import", tarFile, baseImage]);
  if (imported.status !== 0) throw new Error(imported.stderr);
  const work = await mkdtemp(path.join(tmpdir(), "conformance-base-"));
  try {
    const layout = path.join(work, "layout");
    const args = [
      "buildx",
      "build",
      "--provenance=false",
      "--output",
      `type=oci,tar=false,dest=${layout}`,
      "-f",
      "-",
      work,
    ];
    const built = await new Promise<Output>((resolve) => {
      const child = execFile(process.env.DOCKER ?? "docker", args, (error, stdout, stderr) =>
        resolve({ status: error ? 1 : 0, stdout, stderr }),
      );
      child.stdin?.end(`FROM ${baseImage}\n`);
    });
    if (built.status !== 0) throw new Error(built.stderr);
    return await readImage(layout);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Packages of later Debian suites, unpacked into `deps/` without touching the system: a private apt configuration (its own
 * sources, state and cache) uses the mirror, the keys and the proxy that the machine uses already, and apt verifies
 * what it fetches.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { AegisError } from "../../support/errors.js";
import { replaceFile } from "../../support/files.js";
import type { AegisHome } from "../../support/home.js";
import { withLock } from "../../support/locks.js";
import { findMirror } from "./apt-sources.js";
import { findProgram, type UnpackedPart, type UnpackedParts } from "./locate.js";
import { type Output, runProgram } from "./run.js";

/** gvproxy needs glibc 2.34, so trixie's runs on bookworm; libkrunfw has no dependencies at all. */
const suites = { gvproxy: "trixie", libkrunfw5: "forky" } as const;
export type DebName = keyof typeof suites;

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** True where this way of getting parts exists. */
export function canUnpackDebs(): boolean {
  return process.platform === "linux" && ["apt-get", "dpkg-deb"].every((program) => findProgram(program));
}

/**
 * Fetches and unpacks `names`; what is there already is fetched again in its newest version.
 * @throws AegisError DEBS_UNAVAILABLE
 */
export async function unpackDebs(home: AegisHome, names: readonly DebName[]): Promise<void> {
  await withLock(path.join(home.locks, "deps.lock"), async () => {
    const scratch = await mkdtemp(path.join(home.deps, ".tmp-apt-"));
    try {
      const config = await privateApt(scratch, await mirror(), [...new Set(names.map((name) => suites[name]))]);
      await apt(config, scratch, ["update"]);
      const parts: Record<string, UnpackedPart> = { ...(await recorded(home)) };
      for (const name of names) parts[name] = await unpack(home, name, config, scratch);
      await replaceFile(path.join(home.deps, "parts.json"), `${JSON.stringify(parts, null, 2)}\n`);
      await sweep(home, parts);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  });
}

async function recorded(home: AegisHome): Promise<UnpackedParts> {
  const file = path.join(home.deps, "parts.json");
  return existsSync(file) ? (JSON.parse(await readFile(file, "utf8")) as UnpackedParts) : {};
}

async function unpack(home: AegisHome, name: DebName, config: string, scratch: string): Promise<UnpackedPart> {
  const downloads = path.join(scratch, name);
  await mkdir(downloads);
  await apt(config, downloads, ["download", `${name}/${suites[name]}`]);
  const [file] = await readdir(downloads);
  if (!file) throw unavailable(`apt fetched no ${name}`);
  const deb = path.join(downloads, file);
  const version = (await checked("dpkg-deb", ["--field", deb, "Version"])).stdout.trim();
  const sha256 = createHash("sha256")
    .update(await readFile(deb))
    .digest("hex");
  const directory = `${name}_${version.replace(/[^A-Za-z0-9.+~-]/g, "_")}-${sha256.slice(0, 8)}`;
  const target = path.join(home.deps, directory);
  if (!existsSync(target)) {
    const tree = path.join(scratch, `${name}.tree`);
    await checked("dpkg-deb", ["--extract", deb, tree]);
    await rename(tree, target);
  }
  return { version, suite: suites[name], sha256, directory };
}

/** Removes versions that nothing names any more; processes that run from them keep what they have open. */
async function sweep(home: AegisHome, parts: UnpackedParts): Promise<void> {
  const wanted = new Set(["parts.json", ...Object.values(parts).map((part) => part.directory)]);
  for (const name of await readdir(home.deps)) {
    if (!wanted.has(name) && !name.startsWith(".tmp-")) {
      await rm(path.join(home.deps, name), { recursive: true, force: true });
    }
  }
}

/** Writes the configuration; gives its path, for APT_CONFIG. */
async function privateApt(root: string, uri: string, wanted: readonly string[]): Promise<string> {
  for (const directory of ["state/lists/partial", "cache/archives/partial"]) {
    await mkdir(path.join(root, directory), { recursive: true });
  }
  const signed = existsSync(keyring) ? `[signed-by=${keyring}] ` : "";
  await writeFile(
    path.join(root, "sources.list"),
    wanted.map((suite) => `deb ${signed}${uri} ${suite} main\n`).join(""),
  );
  await writeFile(path.join(root, "state/status"), "");
  const settings = {
    "Dir::State": path.join(root, "state"),
    "Dir::State::status": path.join(root, "state/status"),
    "Dir::Cache": path.join(root, "cache"),
    "Dir::Etc::sourcelist": path.join(root, "sources.list"),
    "Dir::Etc::sourceparts": "-",
    // apt's own user can't enter a private home; the files are verified all the same.
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
    "Acquire::Retries": "3",
  };
  const file = path.join(root, "apt.conf");
  await writeFile(
    file,
    Object.entries(settings)
      .map(([key, value]) => `${key} "${value}";\n`)
      .join(""),
  );
  return file;
}

/** The Debian mirror of the machine's own sources. */
async function mirror(): Promise<string> {
  const directory = "/etc/apt/sources.list.d";
  const files = [
    "/etc/apt/sources.list",
    ...(await readdir(directory).catch(() => [])).map((f) => path.join(directory, f)),
  ];
  const texts = await Promise.all(files.map((file) => readFile(file, "utf8").catch(() => "")));
  const uri = findMirror(texts);
  if (uri) return uri;
  throw new AegisError("DEBS_UNAVAILABLE", "apt's sources name no Debian mirror", {
    hint: "install gvproxy 0.8 and libkrunfw 5 by your distribution's means",
  });
}

async function apt(config: string, cwd: string, args: readonly string[]): Promise<void> {
  await checked("apt-get", ["-q", ...args], { cwd, env: { ...process.env, APT_CONFIG: config } });
}

async function checked(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Output> {
  const output = await runProgram(program, args, options);
  if (output.code !== 0)
    throw unavailable(`${program} ${args.join(" ")} ended with status ${output.code}`, output.stderr);
  return output;
}

const unavailable = (message: string, context?: string) =>
  new AegisError("DEBS_UNAVAILABLE", message, {
    hint: "check the network and apt's sources, then run `aegis doctor --fix` again",
    ...(context ? { context } : {}),
  });

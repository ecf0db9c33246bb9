// Base images made from packages, so that nobody needs a registry: `busybox:latest` from Debian's busybox-static and
// `debian-node:MAJOR`, a small Debian with Node.js and npm. Each is a root tarball that `aegis import FILE REF` takes.
// A tarball is built once, under a lock, and kept in a cache directory; the same packages give the same bytes.
//
//   node scripts/base-images.mjs [--cache DIR] [busybox:latest] [debian-node:22] ...   prints one path a line
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { cp, mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
/** 2024-01-01T00:00:00Z: no file in a base image is younger. */
const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? 1704067200);
const suite = "bookworm";

export class BaseImageError extends Error {
  /** @param {string} code @param {string} message @param {string} hint @param {unknown} [cause] */
  constructor(code, message, hint, cause) {
    super(`AEGIS_E_${code}: ${message}\n  ${hint}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** @type {Readonly<Record<string, (out: string, tag: string, scratch: string) => Promise<void>>>} */
const makers = { busybox: makeBusybox, "debian-node": makeDebianNode };

/** Where base images are kept unless the caller says so. */
export function defaultCacheDir(env = process.env) {
  return env.AEGIS_TEST_CACHE || path.join(env.HOME || homedir(), ".cache", "aegis-test");
}

/**
 * Path of the root tarball for `ref` (`busybox:latest`, `debian-node:22`), built when the cache lacks it.
 * @param {string} ref
 * @param {{cacheDir?: string | undefined}} [options]
 * @returns {Promise<string>}
 */
export async function ensureBaseImage(ref, options = {}) {
  const [name, tag = "latest"] = ref.split(":");
  const make = makers[name ?? ""];
  if (!name || !make) {
    throw new BaseImageError(
      "NO_SUCH_BASE",
      `no base image is called "${ref}"`,
      "use busybox:latest or debian-node:22",
    );
  }
  const cacheDir = options.cacheDir ?? defaultCacheDir();
  await mkdir(cacheDir, { recursive: true });
  const target = path.join(cacheDir, `${name}-${tag}-${await recipeTag()}.tar`);
  if (await exists(target)) return target;
  return await locked(path.join(cacheDir, `${name}-${tag}.lock`), async () => {
    if (await exists(target)) return target;
    const scratch = await mkdtemp(path.join(tmpdir(), "aegis-base-"));
    const partial = `${target}.${process.pid}.partial`;
    try {
      await make(partial, tag, scratch);
      await rename(partial, target);
    } finally {
      await rm(partial, { force: true });
      await rm(scratch, { recursive: true, force: true });
    }
    return target;
  });
}

/** Changes when this file does, so that a changed recipe never meets an old tarball. */
async function recipeTag() {
  const text = await readFile(new URL(import.meta.url));
  return createHash("sha256").update(text).update(String(epoch)).digest("hex").slice(0, 8);
}

async function makeBusybox(/** @type {string} */ out, /** @type {string} */ _tag, /** @type {string} */ scratch) {
  const binary = await busyboxBinary(scratch);
  const { stdout } = await run(binary, ["--list"]);
  const applets = stdout.split("\n").filter((name) => name !== "" && name !== "busybox");
  const { default: tar } = await import("tar-stream");
  const pack = tar.pack();
  const written = pipeline(pack, createWriteStream(out));
  const common = { uid: 0, gid: 0, mtime: new Date(epoch * 1000) };
  const directory = (/** @type {string} */ name, mode = 0o755) =>
    pack.entry({ ...common, name, type: "directory", mode });
  const file = (/** @type {string} */ name, /** @type {string | Buffer} */ content, mode = 0o644) =>
    pack.entry({ ...common, name, type: "file", mode }, content);

  directory("bin/");
  file("bin/busybox", await readFile(binary), 0o755);
  // Hard links, as in the images people know: a shell script's `readlink -f /bin/sh` stays /bin/sh.
  for (const name of applets.sort()) {
    pack.entry({ ...common, name: `bin/${name}`, type: "link", linkname: "bin/busybox", mode: 0o755 });
  }
  for (const name of ["dev/", "etc/", "home/", "proc/", "sys/", "usr/", "usr/bin/", "usr/sbin/"]) directory(name);
  directory("root/", 0o700);
  directory("tmp/", 0o1777);
  for (const name of ["var/", "var/spool/", "var/www/"]) directory(name);
  file("etc/passwd", accounts(["root:x:0:0:root:/root:/bin/sh", "daemon:x:1:1:daemon:/usr/sbin:/bin/false"]));
  file("etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n");
  file("etc/shadow", "root:*:19723:0:99999:7:::\ndaemon:*:19723:0:99999:7:::\n", 0o600);
  file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
  pack.entry({ ...common, name: "usr/bin/env", type: "link", linkname: "bin/busybox", mode: 0o755 });
  pack.finalize();
  await written;
}

function accounts(/** @type {string[]} */ first) {
  const rest = ["www-data:x:33:33:www-data:/var/www:/bin/false", "nobody:x:65534:65534:nobody:/home:/bin/false"];
  return `${[...first, ...rest].join("\n")}\n`;
}

/** The installed busybox-static, else the package's, unpacked privately. */
async function busyboxBinary(/** @type {string} */ scratch) {
  try {
    await run("dpkg-query", ["-W", "busybox-static"]);
    if (await exists("/bin/busybox")) return "/bin/busybox";
  } catch {
    // Not installed, which the download mends.
  }
  try {
    await run("apt-get", ["download", "-q", "busybox-static"], { cwd: scratch });
    const deb = (await readdir(scratch)).find((name) => name.endsWith(".deb"));
    await run("dpkg-deb", ["-x", path.join(scratch, deb ?? ""), path.join(scratch, "busybox")]);
    return path.join(scratch, "busybox", "bin", "busybox");
  } catch (error) {
    throw new BaseImageError("NO_BUSYBOX", "busybox-static can't be had", "apt-get install busybox-static", error);
  }
}

async function makeDebianNode(/** @type {string} */ out, /** @type {string} */ major, /** @type {string} */ scratch) {
  if (!/^\d+$/.test(major)) {
    throw new BaseImageError(
      "NO_SUCH_BASE",
      `"${major}" is not a major version of Node.js`,
      "use debian-node:22 or :24",
    );
  }
  const overlay = path.join(scratch, "overlay");
  await stageNode(major, scratch, overlay);
  const sources = path.join(scratch, "sources.list");
  await writeFile(sources, await debianSources());
  const noDocs = ["doc", "man", "info", "locale", "lintian", "bug"].map(
    (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
  );
  try {
    await run(
      "mmdebstrap",
      [
        "--variant=apt",
        // Merged from the start, so that the usrmerge package and the Perl it needs (45 MB) are not.
        "--include=ca-certificates,usr-is-merged",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        "--format=tar",
        '--aptopt=APT::Install-Recommends "false"',
        ...noDocs,
        `--customize-hook=sync-in ${overlay} /`,
        // This machine's, not the image's.
        '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
        suite,
        out,
        sources,
      ],
      {
        env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch), TMPDIR: tmpdir(), LC_ALL: "C.UTF-8" },
        maxBuffer: 1 << 26,
      },
    );
  } catch (error) {
    throw mmdebstrapError(error);
  }
}

function mmdebstrapError(/** @type {unknown} */ error) {
  const failure = /** @type {{code?: string | number, stderr?: string}} */ (error);
  if (failure.code === "ENOENT") {
    return new BaseImageError("NO_MMDEBSTRAP", "mmdebstrap is not installed", "apt-get install mmdebstrap", error);
  }
  const said = (failure.stderr ?? "")
    .trim()
    .split("\n")
    .filter((line) => /^[EW]:/.test(line))
    .slice(-5)
    .join("; ");
  if (process.getuid?.() !== 0) {
    const hint = "run it once as root, or install uidmap and allow user namespaces; the result is kept";
    return new BaseImageError("NEED_ROOT", `mmdebstrap needs root or a user namespace here (${said})`, hint, error);
  }
  return new BaseImageError(
    "DEBIAN_FAILED",
    `mmdebstrap failed: ${said}`,
    "look at its output: mmdebstrap bookworm /dev/null",
    error,
  );
}

/** Node's binary and npm, laid out as under /usr/local of an ordinary Node.js image. */
async function stageNode(/** @type {string} */ major, /** @type {string} */ scratch, /** @type {string} */ overlay) {
  const arch = process.arch === "arm64" ? "arm64" : "x64";
  const packages = path.join(scratch, "npm");
  await mkdir(packages);
  const wanted = [`node-linux-${arch}@${major}`, "npm@11"];
  const options = [
    "--ignore-scripts",
    "--no-save",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--prefix",
    packages,
  ];
  try {
    await run("npm", ["install", ...options, ...wanted], { maxBuffer: 1 << 26 });
  } catch (error) {
    throw new BaseImageError(
      "NO_NODE",
      `${wanted.join(" and ")} can't be installed`,
      "check npm's registry settings",
      error,
    );
  }
  const local = path.join(overlay, "usr", "local");
  await mkdir(path.join(local, "bin"), { recursive: true });
  await mkdir(path.join(local, "lib", "node_modules"), { recursive: true });
  const modules = path.join(packages, "node_modules");
  await cp(path.join(modules, `node-linux-${arch}`, "bin", "node"), path.join(local, "bin", "node"));
  const npm = path.join(local, "lib", "node_modules", "npm");
  await cp(path.join(modules, "npm"), npm, { recursive: true, verbatimSymlinks: true });
  for (const docs of ["docs", "man"]) await rm(path.join(npm, docs), { recursive: true, force: true });
  for (const name of ["npm", "npx"]) {
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, path.join(local, "bin", name));
  }
  await symlink("node", path.join(local, "bin", "nodejs"));
}

/** This machine's own Debian entries of the suite, as one-line sources; any mirror and any key it uses stay in force. */
async function debianSources() {
  const files = ["/etc/apt/sources.list"];
  const directory = "/etc/apt/sources.list.d";
  for (const name of (await readdir(directory).catch(() => [])).sort()) files.push(path.join(directory, name));
  const lines = new Set();
  for (const file of files) {
    const text = await readFile(file, "utf8").catch(() => "");
    for (const line of file.endsWith(".sources") ? deb822Lines(text) : text.split("\n")) {
      const match = /^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$/.exec(line.trim());
      if (match && ["", "-updates", "-security"].some((suffix) => match[3] === suite + suffix)) lines.add(line.trim());
    }
  }
  if (lines.size === 0) {
    throw new BaseImageError(
      "NO_DEBIAN_SOURCES",
      `apt has no sources for Debian ${suite}`,
      `add one for ${suite} to /etc/apt`,
    );
  }
  return `${[...lines].join("\n")}\n`;
}

/** @returns {string[]} */
function deb822Lines(/** @type {string} */ text) {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (/** @type {string} */ name) =>
      new RegExp(`^${name}:[ \\t]*(.*)$`, "mi").exec(stanza)?.[1]?.trim().split(/\s+/) ?? [];
    if (!field("Types").includes("deb") || field("Enabled").includes("no")) return [];
    const key = field("Signed-By")[0];
    const options = key?.startsWith("/") ? `[signed-by=${key}] ` : "";
    const components = field("Components").join(" ");
    return field("URIs").flatMap((uri) => field("Suites").map((name) => `deb ${options}${uri} ${name} ${components}`));
  });
}

async function exists(/** @type {string} */ file) {
  return await stat(file).then(
    () => true,
    () => false,
  );
}

/**
 * Runs `body` while no other process holds the lock.
 * @template T
 * @param {string} file
 * @param {() => Promise<T>} body
 * @returns {Promise<T>}
 */
async function locked(file, body) {
  const { default: native } = await import("fs-native-extensions");
  const handle = await open(file, "a+");
  try {
    while (!native.tryLock(handle.fd)) await pause(200);
    return await body();
  } finally {
    await handle.close();
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const words = process.argv.slice(2);
  const at = words.indexOf("--cache");
  const cacheDir = at >= 0 ? words.splice(at, 2)[1] : undefined;
  try {
    for (const ref of words.length > 0 ? words : ["busybox:latest", "debian-node:22"]) {
      console.log(await ensureBaseImage(ref, { cacheDir }));
    }
  } catch (error) {
    console.error(error instanceof BaseImageError ? error.message : error);
    process.exitCode = 1;
  }
}

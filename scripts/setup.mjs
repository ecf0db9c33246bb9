// Makes a fresh clone runnable, and a runnable one up to date: system packages (Debian, as root), npm packages, the bundle and
// the C parts, then whatever `aegis doctor --fix` mends. Does only what is missing, so it is quick when run again, and needs
// no root once the system packages are there. Uses nothing but Node's own modules.
//
//   node scripts/setup.mjs [--tests]      --tests: also the tools that tests compare with
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";

const root = path.resolve(new URL("..", import.meta.url).pathname);
const tests = process.argv.includes("--tests");

/** Debian packages by the file that shows they are there; found in PATH unless absolute. */
const packages = {
  make: "make",
  cc: "gcc",
  "/usr/include/stdio.h": "libc6-dev",
  "qemu-system-x86_64": "qemu-system-x86",
  runc: "runc",
  slirp4netns: "slirp4netns",
  git: "git",
  mmdebstrap: "mmdebstrap",
  "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
};
const testPackages = {
  readelf: "binutils",
  cpio: "cpio",
  e2fsck: "e2fsprogs",
  busybox: "busybox-static",
  openssl: "openssl",
  skopeo: "skopeo",
  umoci: "umoci",
  buildah: "buildah",
  "docker-registry": "docker-registry",
  setfattr: "attr",
  sshd: "openssh-server",
  "ssh-agent": "openssh-client",
  strace: "strace",
  xz: "xz-utils",
  bzip2: "bzip2",
  zstd: "zstd",
};

const searched = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"].filter((d) => d !== "");

function present(name) {
  const candidates = name.startsWith("/") ? [name] : searched.map((directory) => path.join(directory, name));
  return candidates.some((file) => {
    try {
      accessSync(file, name.startsWith("/") ? constants.R_OK : constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function run(title, command, args, env = {}) {
  const since = Date.now();
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  if (error || status !== 0)
    fail(`${title} failed: ${error?.message ?? `status ${status}`}`, [command, ...args].join(" "));
  console.log(`set-up: ${title}, ${((Date.now() - since) / 1000).toFixed(1)} s`);
}

function fail(message, command) {
  console.error(`set-up: ${message}\n  run by hand: ${command}`);
  process.exit(1);
}

function systemPackages() {
  const wanted = { ...packages, ...(tests ? testPackages : {}) };
  const missing = Object.entries(wanted).flatMap(([name, deb]) => (present(name) ? [] : [deb]));
  if (missing.length === 0) return;
  const install = ["install", "-y", "--no-install-recommends", ...missing];
  if (process.platform !== "linux" || !present("apt-get")) {
    console.log(`set-up: not a Debian system; if something is missing, install what gives: ${missing.join(" ")}`);
    return;
  }
  if (process.getuid() !== 0) fail(`packages are missing: ${missing.join(" ")}`, `sudo apt-get ${install.join(" ")}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  run("package lists", "apt-get", ["-qq", "update"], env);
  run(`system packages (${missing.join(" ")})`, "apt-get", ["-qq", "-o=Dpkg::Use-Pty=0", ...install], env);
}

/** True when node_modules holds exactly what the lock file wants; optional packages may be missing. */
async function packagesInstalled() {
  const installed = path.join(root, "node_modules/.package-lock.json");
  if (!existsSync(installed)) return false;
  const [wanted, got] = (
    await Promise.all([path.join(root, "package-lock.json"), installed].map((f) => readFile(f, "utf8")))
  ).map((text) => JSON.parse(text).packages);
  return Object.entries(wanted).every(
    ([name, entry]) => name === "" || entry.optional || got[name]?.version === entry.version,
  );
}

const { engines } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
if (Number(process.versions.node.split(".")[0]) < 20)
  fail(`Node ${engines.node} is needed, this is ${process.version}`, "node --version");
systemPackages();
if (!(await packagesInstalled())) run("npm packages", "npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
run("bundle and C parts", process.execPath, ["scripts/build.mjs"]);
run("everything that aegis relies on", process.execPath, ["bin/aegis.js", "doctor", "--fix"]);

/** Looks at everything that aegis relies on and says what is there, what is missing and what mends it. Changes nothing. */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import path from "node:path";
import type { AegisHome } from "../../support/home.js";
import { kvmVerdict } from "../kvm.js";
import { canUnpackDebs } from "../parts/debs.js";
import {
  findGvproxy,
  findHelper,
  findLibkrun,
  findLibkrunfw,
  findProgram,
  findQemu,
  findVirtiofsd,
  type Helper,
  unpackedParts,
} from "../parts/locate.js";
import { runProgram } from "../parts/run.js";
import { installCommand, type PackageManager, type Packages, packageManager } from "./system.js";
import type { Check, Diagnosis, Remedy } from "./types.js";

interface Host {
  readonly home: AegisHome;
  readonly manager: PackageManager;
  readonly root: boolean;
}

export async function diagnose(home: AegisHome): Promise<Diagnosis> {
  const host: Host = { home, manager: packageManager(), root: process.getuid?.() === 0 };
  const kvm = kvmVerdict();
  const checks: Check[] = [
    {
      id: "kvm",
      title: "hardware virtualization",
      state: kvm.usable ? "ok" : "unusable",
      neededFor: "speed",
      detail: kvm.usable ? kvm.reason : `${kvm.reason}: guests run emulated, several times slower`,
    },
    await qemu(host),
    libkrun(host),
    kernel(host),
    await gvproxy(host),
    ...helpers(),
    await virtiofsd(host),
    await runc(host),
    containerKernel(host),
  ];
  const ok = (id: string) => checks.find((check) => check.id === id)?.state === "ok";
  const krun = ok("libkrun") && ok("aegis-krun") && kvm.usable;
  const driver = krun ? "krun" : ok("qemu") ? "qemu" : undefined;
  const always = ["kernel", "gvproxy", "aegis-harness", "aegis-krun", "aegis-guard", "aegis-gate"];
  const blocking = [...always.filter((id) => !ok(id)), ...(driver ? [] : [kvm.usable ? "libkrun" : "qemu"])];
  const container = ok("runc") && ok("mounts");
  const bootable = blocking.length === 0;
  const isolation = kvm.usable && bootable ? "vm" : container ? "container" : bootable ? "vm" : undefined;
  return { checks, driver, accelerated: kvm.usable, isolation, blocking };
}

async function qemu(host: Host): Promise<Check> {
  const program = findQemu();
  const version = program && /version (\S+)/.exec((await runProgram(program, ["--version"])).stdout)?.[1];
  const packages = { apt: "qemu-system-x86", dnf: "qemu-system-x86-core" };
  const check = { id: "qemu", title: "QEMU", neededFor: "qemu" } as const;
  if (process.arch !== "x64") return { ...check, state: "unusable", detail: "aegis uses QEMU on x86-64 hosts only" };
  return { ...check, ...found(program, version), ...(program ? {} : byPackage(host, packages)) };
}

function libkrun(host: Host): Check {
  const library = findLibkrun();
  const npm = process.platform === "linux" && process.arch === "x64";
  return {
    id: "libkrun",
    title: "libkrun",
    neededFor: "krun",
    ...found(library, library && libraryVersion(library)),
    ...(library
      ? {}
      : npm
        ? { command: "npm install --include=optional" }
        : byPackage(host, { dnf: "libkrun", brew: "slp/krun/libkrun" })),
  };
}

function kernel(host: Host): Check {
  const library = findLibkrunfw(host.home);
  return {
    id: "kernel",
    title: "guest kernel (libkrunfw)",
    neededFor: "boot",
    ...found(library, library && (recordedVersion(host, "libkrunfw5", library) ?? libraryVersion(library))),
    ...(library ? {} : byDebOrPackage(host, "libkrunfw5", { dnf: "libkrunfw", brew: "slp/krun/libkrunfw" })),
  };
}

async function gvproxy(host: Host): Promise<Check> {
  const program = findGvproxy(host.home);
  const said = program ? await runProgram(program, ["-version"]) : undefined;
  const check = { id: "gvproxy", title: "gvproxy", neededFor: "boot" } as const;
  if (said && said.code !== 0) return { ...check, state: "unusable", path: program, detail: said.stderr.trim() };
  const version = program && (recordedVersion(host, "gvproxy", program) ?? /(\d+\.\d+\S*)/.exec(said!.stdout)?.[1]);
  const packages = { dnf: "gvisor-tap-vsock", brew: "slp/krun/gvproxy" };
  return { ...check, ...found(program, version), ...(program ? {} : byDebOrPackage(host, "gvproxy", packages)) };
}

function helpers(): Check[] {
  const titles: Readonly<Record<Helper, string>> = {
    "aegis-harness": "guest harness",
    "aegis-krun": "libkrun launcher",
    "aegis-guard": "process guard",
    "aegis-gate": "network gate",
  };
  return Object.entries(titles).map(([id, title]) => {
    const program = findHelper(id as Helper);
    const part = id === "aegis-harness" ? "harness" : "native";
    const remedy: Remedy = { kind: "make", part };
    return {
      id,
      title,
      neededFor: "boot",
      ...found(program),
      ...(program ? {} : { command: "npm run build", remedy }),
    };
  });
}

async function virtiofsd(host: Host): Promise<Check> {
  const program = findVirtiofsd();
  const version = program && /(\d+\.\d+\S*)/.exec((await runProgram(program, ["--version"])).stdout)?.[1];
  // Debian 12 ships it with QEMU, later releases by itself.
  const bookworm = existsSync("/etc/os-release") && readFileSync("/etc/os-release", "utf8").includes("bookworm");
  const packages = { apt: bookworm ? "qemu-system-common" : "virtiofsd", dnf: "virtiofsd" };
  const check = { id: "virtiofsd", title: "virtiofsd (shared directories with QEMU)", neededFor: "shares" } as const;
  if (program?.includes("/qemu/") && !host.root) {
    return { ...check, state: "unusable", path: program, version, detail: "QEMU 7's works only as root" };
  }
  return { ...check, ...found(program, version), ...(program ? {} : byPackage(host, packages)) };
}

async function runc(host: Host): Promise<Check> {
  const program = findProgram("runc");
  const version = program && /version (\S+)/.exec((await runProgram(program, ["--version"])).stdout)?.[1];
  return {
    id: "runc",
    title: "runc (RUN steps without a VM)",
    neededFor: "build",
    ...found(program, version),
    ...(program ? {} : process.platform === "linux" ? byPackage(host, { apt: "runc", dnf: "runc" }) : {}),
  };
}

function containerKernel(host: Host): Check {
  const check = {
    id: "mounts",
    title: "root, overlay and loop mounts (RUN steps without a VM)",
    neededFor: "build",
  } as const;
  if (process.platform !== "linux") return { ...check, state: "unusable", detail: "only on Linux; steps run in a VM" };
  if (!host.root) return { ...check, state: "unusable", detail: "not root: steps run in a VM" };
  if (!/\boverlay$/m.test(readFileSync("/proc/filesystems", "utf8"))) {
    return { ...check, state: "unusable", detail: "the kernel has no overlay filesystem", command: "modprobe overlay" };
  }
  if (!existsSync("/dev/loop-control")) {
    return { ...check, state: "unusable", detail: "there is no /dev/loop-control", command: "modprobe loop" };
  }
  return { ...check, state: "ok" };
}

const found = (file: string | undefined, version?: string | undefined): Pick<Check, "state" | "path" | "version"> =>
  file ? { state: "ok", path: file, version } : { state: "missing" };

function byPackage(host: Host, packages: Packages): Pick<Check, "command" | "remedy"> {
  const name = packages[host.manager];
  const command = installCommand(host.manager, packages, host.root);
  return name && command ? { command, remedy: { kind: "package", name } } : {};
}

function byDebOrPackage(
  host: Host,
  deb: "gvproxy" | "libkrunfw5",
  packages: Packages,
): Pick<Check, "command" | "remedy"> {
  if (host.manager === "apt" && canUnpackDebs()) {
    return { command: "aegis doctor --fix", remedy: { kind: "deb", name: deb } };
  }
  return byPackage(host, packages);
}

/** libkrun.so.1.17.4 is 1.17.4. */
function libraryVersion(library: string): string | undefined {
  const names = [realpathSync(library), ...(library.endsWith(".so.1") ? siblings(library) : [])];
  return names
    .map((name) => /\.so\.(\d+\.\d+\S*)$|\.(\d+\.\d+\S*)\.dylib$/.exec(name)?.slice(1).find(Boolean))
    .find(Boolean);
}

/** npm unpacks links as copies, so the versioned name may lie beside. */
function siblings(library: string): string[] {
  const manifest = path.join(path.dirname(library), "..", "package.json");
  return existsSync(manifest) ? readdirSync(path.dirname(library)) : [];
}

function recordedVersion(host: Host, name: string, file: string): string | undefined {
  const owner = unpackedParts(host.home).find(({ root, parts }) => {
    const part = parts[name];
    return part && file.startsWith(path.join(root, part.directory));
  });
  return owner?.parts[name]?.version;
}

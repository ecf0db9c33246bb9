/**
 * Where the programs and libraries are that aegis does not contain: its own helpers beside the bundle, what a package
 * manager installed, what `aegis doctor --fix` unpacked privately. Looks, never fetches.
 */
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { AegisError } from "../../support/errors.js";
import type { AegisHome } from "../../support/home.js";

export type Helper = "aegis-krun" | "aegis-guard" | "aegis-gate" | "aegis-harness";

/** A package that was unpacked under `deps/`, as `deps/parts.json` records it. */
export interface UnpackedPart {
  readonly version: string;
  /** Where it came from: the distribution's suite. */
  readonly suite: string;
  /** Of the package file. */
  readonly sha256: string;
  /** Directory below `deps/`. */
  readonly directory: string;
}

export type UnpackedParts = Readonly<Record<string, UnpackedPart>>;

const helperDirectories = ["bin", "../bin", "../../dist/bin", "../../../dist/bin"];

/** Path of one of aegis's own helper programs, or undefined when it is not built. */
export function findHelper(name: Helper): string | undefined {
  const here = path.dirname(fileURLToPath(import.meta.url));
  return helperDirectories.map((directory) => path.join(here, directory, name)).find(executable);
}

/** @throws AegisError HELPER_MISSING */
export function helper(name: Helper): string {
  const found = findHelper(name);
  if (found) return found;
  throw new AegisError("HELPER_MISSING", `${name}, a part of aegis, has not been built`, {
    hint: "run `npm run build` in the checkout (it needs make and a C compiler)",
  });
}

/** A program of the system: in PATH, or where distributions put what only root uses. */
export function findProgram(name: string, extra: readonly string[] = []): string | undefined {
  const directories = [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", "/sbin", "/opt/homebrew/bin"];
  return [...extra, ...directories.filter((d) => d !== "").map((d) => path.join(d, name))].find(executable);
}

/** Private parts: of this home, else from `AEGIS_DEPS` or the user's default home, so that a second home need not fetch them. */
export function unpackedParts(home: AegisHome): { readonly root: string; readonly parts: UnpackedParts }[] {
  const roots = new Set([home.deps, process.env.AEGIS_DEPS || path.join(homedir(), ".aegis", "deps")]);
  return [...roots].flatMap((root) => {
    try {
      return [{ root, parts: JSON.parse(readFileSync(path.join(root, "parts.json"), "utf8")) as UnpackedParts }];
    } catch {
      return [];
    }
  });
}

/** A file inside a privately unpacked package. */
function findUnpacked(home: AegisHome, name: string, file: string): string | undefined {
  return unpackedParts(home)
    .flatMap(({ root, parts }) => (parts[name] ? [path.join(root, parts[name].directory, file)] : []))
    .find(existsSync);
}

export function findGvproxy(home: AegisHome): string | undefined {
  return (
    findUnpacked(home, "gvproxy", "usr/bin/gvproxy") ??
    findProgram("gvproxy", ["/usr/libexec/podman/gvproxy", "/usr/lib/podman/gvproxy"])
  );
}

const debianTriple = { x64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" }[process.arch as "x64" | "arm64"];
const libraryDirectories =
  process.platform === "darwin"
    ? ["/opt/homebrew/lib", "/usr/local/lib"]
    : [`/usr/lib/${debianTriple}`, "/usr/lib64", "/usr/local/lib64", "/usr/local/lib", "/usr/lib"];

export function findLibkrun(): string | undefined {
  return npmLibkrun() ?? findLibrary(process.platform === "darwin" ? "libkrun.dylib" : "libkrun.so.1");
}

/** The optional npm dependency that ships libkrun with block and network support. */
function npmLibkrun(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  try {
    const require = createRequire(import.meta.url);
    const manifest = require.resolve("@earendil-works/gondolin-krun-runner-linux-x64/package.json");
    const library = path.join(path.dirname(manifest), "lib/libkrun.so.1");
    return existsSync(library) ? library : undefined;
  } catch {
    return undefined;
  }
}

/** libkrunfw holds the guest kernel, whichever VMM boots it. */
export function findLibkrunfw(home: AegisHome): string | undefined {
  const name = process.platform === "darwin" ? "libkrunfw.5.dylib" : "libkrunfw.so.5";
  const unpacked = findUnpacked(home, "libkrunfw5", `usr/lib/${debianTriple}`);
  const versioned = unpacked && readdirSync(unpacked).find((file) => file.startsWith(name));
  return versioned ? path.join(unpacked, versioned) : findLibrary(name);
}

function findLibrary(name: string): string | undefined {
  return libraryDirectories.map((directory) => path.join(directory, name)).find(existsSync);
}

export const findQemu = (): string | undefined =>
  process.arch === "x64" ? findProgram("qemu-system-x86_64") : undefined;

/** virtiofsd of QEMU 7 (C) or of its successor (Rust); neither is usually in PATH. */
export const findVirtiofsd = (): string | undefined =>
  findProgram("virtiofsd", ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"]);

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

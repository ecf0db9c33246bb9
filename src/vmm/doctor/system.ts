/** What kind of host this is, as far as installing things goes. */
import { existsSync, readFileSync } from "node:fs";

/** How packages get onto this host. */
export type PackageManager = "apt" | "dnf" | "brew" | "unknown";

export function packageManager(): PackageManager {
  if (process.platform === "darwin") return "brew";
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  return managerOf(release);
}

/** By the ID and ID_LIKE of os-release(5). */
export function managerOf(osRelease: string): PackageManager {
  const ids = [...osRelease.matchAll(/^ID(?:_LIKE)?=(.*)$/gm)].flatMap((m) => m[1]!.replaceAll('"', "").split(" "));
  if (ids.includes("debian")) return "apt";
  if (ids.includes("fedora") || ids.includes("rhel")) return "dnf";
  return "unknown";
}

/** Package names per manager; one that is missing has no package there. */
export type Packages = Partial<Record<PackageManager, string>>;

/** The command that installs a package, or undefined where there is none. */
export function installCommand(manager: PackageManager, packages: Packages, root: boolean): string | undefined {
  const name = packages[manager];
  if (!name) return undefined;
  const sudo = root ? "" : "sudo ";
  if (manager === "apt") return `${sudo}apt-get install -y --no-install-recommends ${name}`;
  if (manager === "dnf") return `${sudo}dnf install -y ${name}`;
  return `brew install ${name}`;
}

/** A build context with all of aegis in it, as it would be installed: for guests that run aegis themselves. */
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(new URL("../..", import.meta.url).pathname);

/** Copies the bundle, the helper programs and every package they need at run time into `target`. */
export function copyAegis(target: string): void {
  mkdirSync(target, { recursive: true });
  for (const part of ["bin", "dist", "package.json"]) {
    cpSync(path.join(root, part), path.join(target, part), {
      recursive: true,
      filter: (source) => !source.endsWith(".map"),
    });
  }
  const { dependencies, optionalDependencies } = manifest(root);
  for (const directory of closure(root, Object.keys({ ...dependencies, ...optionalDependencies }), new Set())) {
    cpSync(directory, path.join(target, path.relative(root, directory)), {
      recursive: true,
      dereference: true,
      filter: (source) => !/\/prebuilds\/(?!linux-x64)/.test(source),
    });
  }
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const manifest = (directory: string): Manifest =>
  JSON.parse(readFileSync(path.join(directory, "package.json"), "utf8")) as Manifest;

/** Directories of the packages that `names` stand for in `from`, and of theirs, found as Node finds them. */
function closure(from: string, names: readonly string[], seen: Set<string>): Set<string> {
  for (const name of names) {
    const directory = resolvePackage(from, name);
    if (!directory || seen.has(directory)) continue;
    seen.add(directory);
    closure(directory, Object.keys(manifest(directory).dependencies ?? {}), seen);
  }
  return seen;
}

function resolvePackage(from: string, name: string): string | undefined {
  for (let directory = from; ; directory = path.dirname(directory)) {
    const candidate = path.join(directory, "node_modules", name);
    if (existsSync(candidate)) return candidate;
    if (directory === root || directory === "/") return undefined;
  }
}

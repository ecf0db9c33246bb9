// Sources as programs that run by themselves; packages stay outside, so a bundle has to lie where Node finds them.
import path from "node:path";
import { build } from "esbuild";

const root = path.resolve(new URL("..", import.meta.url).pathname);

/** @param {import("esbuild").BuildOptions} options */
export const bundle = async (options) =>
  void (await build({
    absWorkingDir: root,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    logLevel: "warning",
    ...options,
  }));

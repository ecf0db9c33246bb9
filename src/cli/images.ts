/** What the image commands share: the store of the home, byte streams from and to the shell, and how ids and ages are shown. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { parseDigest } from "../oci/digests.js";
import type { RegistryOptions } from "../oci/registry/session.js";
import { type ImageStore, openImageStore } from "../oci/store.js";
import type { Digest } from "../support/brands.js";
import { AegisError, hasErrno } from "../support/errors.js";
import { type AegisHome, registriesFile } from "../support/home.js";

/** Runs `body` with the home's store and ends its lease afterwards. */
export async function withStore<T>(home: AegisHome, body: (store: ImageStore) => Promise<T>): Promise<T> {
  const store = await openImageStore(home.images);
  try {
    return await body(store);
  } finally {
    await store.close();
  }
}

/** A file's bytes, or standard input's for `-`. @throws AegisError INPUT_UNREADABLE */
export async function openInput(file: string, stdin: Readable): Promise<AsyncIterable<Uint8Array>> {
  if (file === "-") {
    if ("isTTY" in stdin && stdin.isTTY) {
      throw new AegisError("INPUT_UNREADABLE", "standard input is a terminal", {
        hint: "pipe an archive into it, or name a file",
      });
    }
    return stdin;
  }
  try {
    if ((await stat(file)).isDirectory()) throw Object.assign(new Error("is a directory"), { code: "EISDIR" });
    return createReadStream(file, { highWaterMark: 1 << 20 });
  } catch (error) {
    if (!hasErrno(error, "ENOENT", "EACCES", "EISDIR", "ENOTDIR")) throw error;
    throw new AegisError("INPUT_UNREADABLE", `${file} can't be read`, { hint: "check the path", cause: error });
  }
}

/** Twelve digits, as Docker shows ids. */
export const shortId = (digest: string): string => digest.slice("sha256:".length, "sha256:".length + 12);

/** `3 hours ago`. */
export function formatAge(created: string | undefined, now = Date.now()): string {
  const then = created === undefined ? Number.NaN : Date.parse(created);
  if (Number.isNaN(then)) return "N/A";
  const seconds = Math.max(0, Math.floor((now - then) / 1000));
  const steps: readonly (readonly [limit: number, unit: string, size: number])[] = [
    [120, "second", 1],
    [7200, "minute", 60],
    [172_800, "hour", 3600],
    [1_209_600, "day", 86_400],
    [5_184_000, "week", 604_800],
    [63_072_000, "month", 2_592_000],
    [Number.POSITIVE_INFINITY, "year", 31_536_000],
  ];
  const [, unit, size] = steps.find(([limit]) => seconds < limit)!;
  const count = Math.floor(seconds / size);
  return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
}

/** How this home talks to registries: `registries.json` in it, Docker's credentials and certificates. */
export const registryOptions = (home: AegisHome): RegistryOptions => ({
  env: process.env,
  settingsFile: registriesFile(home),
});

/** Images that instances were made from and layers that cached build steps lead to; collection leaves them alone. */
export async function neededDigests(home: AegisHome): Promise<readonly Digest[]> {
  const { cachedLayers } = await import("../build/cache/steps.js");
  return [...(await instanceDigests(home)), ...(await cachedLayers(home))];
}

/** Images that instances were made from. */
export async function instanceDigests(home: AegisHome): Promise<readonly Digest[]> {
  const { listInstances } = await import("../instance/store.js");
  return (await listInstances(home)).map(({ config }) => parseDigest(config.image.digest));
}

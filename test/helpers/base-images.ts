/** Root tarballs that tests start from, made once and shared by all runs. */
import { ensureBaseImage } from "../../scripts/base-images.mjs";

/** Path of the tarball for `ref`: `busybox:latest`, `debian-node:22` or `debian-node:24`. */
export async function baseImage(ref: "busybox:latest" | "debian-node:22" | "debian-node:24"): Promise<string> {
  return await ensureBaseImage(ref);
}

/** Mounts by the kernel, always taken down again. Root only. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import type { RootDisks } from "../../src/rootfs/types.js";

const run = promisify(execFile);

export interface Mounted extends AsyncDisposable {
  readonly path: string;
}

/** Mounts `image` through a loop device. */
export async function mountImage(image: string, options = "ro"): Promise<Mounted> {
  const directory = await mkdtemp(path.join(tmpdir(), "aegis-mount-"));
  try {
    await run("mount", ["-t", "ext4", "-o", `loop,${options}`, image, directory]);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
  return mounted(directory);
}

/**
 * Mounts image disks as a guest does. With `writable` the overlay's upper is on that disk, else it is read-only (by an empty
 * lower in place of the upper).
 */
export async function mountRoot(disks: RootDisks, writable?: string): Promise<Mounted> {
  const undo: (() => Promise<unknown>)[] = [];
  const undoAll = async () => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  const mount = async (image: string, options: string) => {
    const found = await mountImage(image, options);
    undo.push(async () => await found[Symbol.asyncDispose]());
    return found.path;
  };
  try {
    const lowers: string[] = [];
    for (const { path: image } of disks.lowers) lowers.unshift(await mount(image, "ro"));
    const scratch = await mkdtemp(path.join(tmpdir(), "aegis-mount-"));
    undo.push(async () => await rm(scratch, { recursive: true, force: true }));
    const empty = path.join(scratch, "empty");
    const merged = path.join(scratch, "merged");
    for (const directory of [empty, merged]) await mkdir(directory);
    const upper = writable && (await mount(writable, "rw"));
    const lowerdir = `lowerdir=${(upper ? lowers : [...lowers, empty]).join(":")}`;
    const over = upper ? `,upperdir=${upper}/upper,workdir=${upper}/work` : "";
    const options = `${lowerdir}${over},redirect_dir=off,metacopy=off,index=off`;
    await run("mount", ["-t", "overlay", "-o", options, "overlay", merged]);
    undo.push(async () => await run("umount", [merged]));
    return { path: merged, [Symbol.asyncDispose]: undoAll };
  } catch (error) {
    await undoAll();
    throw error;
  }
}

function mounted(directory: string): Mounted {
  return {
    path: directory,
    async [Symbol.asyncDispose]() {
      await run("umount", [directory]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** @throws when e2fsck finds anything at all */
export async function checkFilesystem(image: string): Promise<void> {
  await run("e2fsck", ["-fn", image]);
}

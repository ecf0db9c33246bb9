/** The kernel's own view of an image, for tests that run as root. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** Runs `use` with the image mounted, read-only unless told. */
export async function withMount<T>(
  image: string,
  use: (directory: string) => T | Promise<T>,
  options = "ro",
): Promise<T> {
  const directory = mkdtempSync(path.join(tmpdir(), "aegis-mount-"));
  try {
    execFileSync("mount", ["-t", "ext4", "-o", `loop,${options}`, image, directory], { stdio: "pipe" });
    try {
      return await use(directory);
    } finally {
      execFileSync("umount", [directory], { stdio: "pipe" });
    }
  } finally {
    rmdirSync(directory);
  }
}

/** What `e2fsck -fn` has to say against an image: nothing, if it is clean. */
export function fsckComplaints(image: string): string {
  const { status, stdout, stderr } = spawnSync("e2fsck", ["-fn", image], { encoding: "utf8" });
  return status === 0 ? "" : `${stdout}${stderr}`;
}

/** A root filesystem with a shell, as files of a build context. */
import { copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import path from "node:path";

const applets = "sh ls cat mkdir rm touch id env pwd ln mv chmod chown mknod stat date sleep seq dd".split(" ");

/** Puts a static busybox and its usual names into `<directory>/bin`. */
export function writeBusybox(directory: string): void {
  const bin = path.join(directory, "bin");
  mkdirSync(bin, { recursive: true });
  copyFileSync("/bin/busybox", path.join(bin, "busybox"));
  for (const applet of applets) symlinkSync("busybox", path.join(bin, applet));
}

/**
 * The base image of cases with RUN: a static busybox with a handful of its names, users and groups. It is made the same everywhere except for
 * busybox itself, of which nothing is recorded.
 */
import { execFileSync } from "node:child_process";
import { chmod, copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";

const applets =
  "sh ash cat ls cp mv rm mkdir rmdir ln touch chmod chown echo printf test true false id env pwd find stat grep sed head tail wc sort sleep tar mknod mkfifo readlink dd mount umask basename dirname seq tr cut date hostname";

const passwd = `root:x:0:0:root:/root:/bin/sh
app:x:1234:2345:an app:/home/app:/bin/sh
nogroup-user:x:1300:1400::/:/bin/sh
`;
const group = `root:x:0:
app:x:2345:
staff:x:50:app
extra:x:3456:app
`;

/** Writes the root tree as a tar file; needs root, for the owners. */
export async function writeBaseTar(work: string, target: string, busybox = "/bin/busybox"): Promise<void> {
  const root = path.join(work, "root");
  const files: readonly (readonly [name: string, content: string, mode: number])[] = [
    ["etc/passwd", passwd, 0o644],
    ["etc/group", group, 0o644],
    ["etc/profile", "export FROM_PROFILE=1\n", 0o644],
    ["data/file", "from the base\n", 0o640],
    ["data/sub/inner", "inner\n", 0o600],
    ["data/sub/other", "other\n", 0o644],
    ["plain", "a file\n", 0o644],
  ];
  for (const directory of [
    "bin",
    "etc",
    "root",
    "home/app",
    "data/sub",
    "tmp",
    "usr/local/bin",
    "dev",
    "proc",
    "sys",
  ]) {
    await mkdir(path.join(root, directory), { recursive: true });
  }
  for (const [name, content, mode] of files) {
    await writeFile(path.join(root, name), content);
    await chmod(path.join(root, name), mode);
  }
  await copyFile(busybox, path.join(root, "bin/busybox"));
  await chmod(path.join(root, "bin/busybox"), 0o755);
  for (const applet of applets.split(" ")) await symlink("busybox", path.join(root, "bin", applet));
  await symlink("data", path.join(root, "link-to-data"));
  await symlink("/data/sub", path.join(root, "absolute-link"));
  await symlink("nowhere", path.join(root, "dangling"));
  await chmod(path.join(root, "root"), 0o700);
  await chmod(path.join(root, "tmp"), 0o1777);
  await chmod(path.join(root, "data"), 0o750);
  execFileSync("chown", ["-R", "0:0", root]);
  execFileSync("chown", ["-R", "1234:2345", path.join(root, "home/app")]);
  execFileSync("tar", ["-C", root, "--sort=name", "--mtime=@1000000000", "--numeric-owner", "-cf", target, "."]);
}

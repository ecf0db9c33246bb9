/** Real machines for tests: a private home, a busybox root disk made by our own writer, QEMU. Everything is gone afterwards. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { type BootConfig, connectGuest, type Guest, type ProcessExit } from "../../src/guest/index.js";
import { encodeText } from "../../src/support/brands.js";
import { type AegisHome, createSocketDirectory, openHome } from "../../src/support/home.js";
import type { TreeEntry } from "../../src/support/tree.js";
import { ensureBootFiles, type MachineSpec } from "../../src/vmm/index.js";
import { writeImage } from "./ext4-image.js";

export interface Bench extends AsyncDisposable {
  readonly home: AegisHome;
  readonly directory: string;
  /** A spec that boots; parts of it replaced by `change`. */
  spec(change?: Partial<MachineSpec>): Promise<MachineSpec>;
  /** Path of a new ext4 disk with static busybox and its applets in /bin. */
  busyboxDisk(): Promise<string>;
}

/** A place for machines; system parts come from the user's default home, where set-up put them. */
export function openBench(): Bench {
  const directory = mkdtempSync(path.join(tmpdir(), "aegis-vm-"));
  const home = openHome({ ...process.env, AEGIS_HOME: path.join(directory, "home") });
  let made = 0;
  return {
    home,
    directory,
    spec: async (change = {}) => {
      const socketDir = path.join(home.sockets, String(made++));
      createSocketDirectory(socketDir);
      return {
        name: "test",
        memoryMiB: 256,
        cpus: 1,
        ...(await ensureBootFiles(home)),
        disks: [],
        shares: [],
        consoleLog: path.join(directory, `console-${made}.log`),
        socketDir,
        ...change,
      };
    },
    busyboxDisk: async () => {
      const file = path.join(directory, `busybox-${made++}.img`);
      await writeBusyboxDisk(file);
      return file;
    },
    [Symbol.asyncDispose]: async () => {
      rmSync(directory, { recursive: true, force: true });
      rmSync(home.sockets, { recursive: true, force: true });
    },
  };
}

const directories = ["bin", "dev", "proc", "sys", "run", "tmp", "etc", "root", "mnt"];
const applets = [
  "sh",
  "cat",
  "ls",
  "wget",
  "nc",
  "httpd",
  "head",
  "sha256sum",
  "mount",
  "touch",
  "sleep",
  "echo",
  "id",
];

async function writeBusyboxDisk(file: string): Promise<void> {
  const busybox = readFileSync("/bin/busybox");
  const entry = (name: string, change: Partial<TreeEntry>): TreeEntry => ({
    path: encodeText(name),
    type: "directory",
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtime: { sec: 0, nsec: 0 },
    size: 0,
    ...change,
  });
  await writeImage(file, (writer) => {
    for (const name of directories) writer.entry(entry(name, {}));
    writer.entry(entry("bin/busybox", { type: "file", size: busybox.length }));
    writer.data(busybox);
    for (const name of applets) {
      writer.entry(entry(`bin/${name}`, { type: "symlink", mode: 0o777, linkTarget: encodeText("busybox") }));
    }
  });
}

/** A configuration for a guest whose only disk is a busybox disk. */
export const busyboxBoot: BootConfig = {
  hostname: "test",
  root: { lowers: [0] },
  extraHosts: [],
  mounts: [],
  files: [],
  ports: [],
  errorLogs: [],
};

export { connectGuest };

/** Runs a shell line in the guest to its end. */
export async function shell(
  guest: Guest,
  line: string,
  options: { readonly privileged?: boolean } = {},
): Promise<{ readonly exit: ProcessExit; readonly output: string }> {
  const process = await guest.exec({
    argv: ["/bin/sh", "-c", line],
    env: ["PATH=/bin"],
    user: "",
    cwd: "/",
    ...options,
  });
  process.stdin.end();
  const [output, errors, exit] = await Promise.all([text(process.stdout), text(process.stderr), process.exited]);
  return { exit, output: (output + errors).trim() };
}

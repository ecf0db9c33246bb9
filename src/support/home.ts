/**
 * Where aegis keeps its state: `$AEGIS_HOME`, by default `~/.aegis`, mode 0700. Sockets live apart in a short directory,
 * because a unix socket's path holds at most 107 bytes whatever the home directory is.
 */
import { createHash } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { AegisError, hasErrno } from "./errors.js";

export interface AegisHome {
  readonly root: string;
  /** OCI image layout. */
  readonly images: string;
  /** ext4 image disks by chain id. */
  readonly disks: string;
  readonly cache: string;
  readonly instances: string;
  readonly secrets: string;
  /** Guest kernel and initramfs. */
  readonly boot: string;
  /** System parts unpacked privately (gvproxy, libkrunfw). */
  readonly deps: string;
  readonly volumes: string;
  /** Temporary files, on the same filesystem as everything above. */
  readonly tmp: string;
  readonly locks: string;
  /** Short private directory for sockets, outside of the home; at most 40 bytes long; there while a machine needs it. */
  readonly sockets: string;
}

/**
 * Opens (and creates) the state directory.
 * @throws AegisError HOME_UNUSABLE when it can't be created or belongs to somebody else
 */
export function openHome(env: NodeJS.ProcessEnv = process.env): AegisHome {
  const root = path.resolve(env.AEGIS_HOME || path.join(env.HOME || homedir(), ".aegis"));
  const at = (name: string) => path.join(root, name);
  const home: AegisHome = {
    root,
    images: at("images"),
    disks: at("disks"),
    cache: at("cache"),
    instances: at("instances"),
    secrets: at("secrets"),
    boot: at("boot"),
    deps: at("deps"),
    volumes: at("volumes"),
    tmp: at("tmp"),
    locks: at("locks"),
    sockets: socketDirectory(root, env),
  };
  for (const directory of Object.values(home)) if (directory !== home.sockets) privateDirectory(directory);
  return home;
}

/** Makes an empty private directory for one machine's sockets, `<home.sockets>/<name>`. */
export function createSocketDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  for (;;) {
    privateDirectory(path.dirname(directory));
    try {
      mkdirSync(directory, { mode: 0o700 });
      return;
    } catch (error) {
      // Another process may have removed the parent as empty in between.
      if (!hasErrno(error, "ENOENT")) throw error;
    }
  }
}

/** Removes it, and the directory around it with the last one. */
export function removeSocketDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  try {
    rmdirSync(path.dirname(directory));
  } catch (error) {
    if (!hasErrno(error, "ENOTEMPTY", "EEXIST", "ENOENT")) throw error;
  }
}

/** What the user has configured about registries: mirrors, own CAs, plain HTTP. */
export const registriesFile = (home: Pick<AegisHome, "root">): string => path.join(home.root, "registries.json");

function socketDirectory(root: string, env: NodeJS.ProcessEnv): string {
  const uid = process.getuid?.() ?? 0;
  const tag = createHash("sha256").update(root).digest("hex").slice(0, 8);
  const runtime = env.XDG_RUNTIME_DIR;
  const base = runtime && runtime.length <= 24 ? runtime : tmpdir().length <= 16 ? tmpdir() : "/tmp";
  return path.join(base, `aegis-${uid}-${tag}`);
}

function privateDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const stat = lstatSync(directory);
    const uid = process.getuid?.();
    if (!stat.isDirectory() || (uid !== undefined && stat.uid !== uid)) {
      throw new AegisError("HOME_UNUSABLE", `${directory} is not a directory of yours`, {
        hint: "remove it, or point AEGIS_HOME elsewhere",
      });
    }
    if ((stat.mode & 0o077) !== 0) chmodSync(directory, 0o700);
  } catch (error) {
    if (!hasErrno(error, "EACCES", "EEXIST", "ENOTDIR", "EROFS", "EPERM", "ENOSPC")) throw error;
    throw new AegisError("HOME_UNUSABLE", `${directory} can't be created`, {
      hint: "point AEGIS_HOME at a directory that you can write to",
      cause: error,
    });
  }
}

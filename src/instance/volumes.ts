/** Volumes: `-v` notation, and named volumes as ext4 disks of their own under `$AEGIS_HOME/volumes/<name>/`. */
import { mkdir, stat } from "node:fs/promises";
import path from "node:path";
import { AegisError, hasErrno } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { type HeldLock, tryLock } from "../support/locks.js";
import { parseSize } from "../support/sizes.js";
import type { VolumeMount } from "./types.js";

export interface VolumeFiles {
  readonly directory: string;
  readonly disk: string;
  /** Held by the supervisor of the one instance that uses the volume. */
  readonly lock: string;
}

export function volumeFiles(home: AegisHome, name: string): VolumeFiles {
  const directory = path.join(home.volumes, name);
  return { directory, disk: path.join(directory, "disk.ext4"), lock: path.join(directory, "use.lock") };
}

/** Keeps everybody else from a volume while it is held. @throws AegisError VOLUME_BUSY */
export async function lockVolume(home: AegisHome, name: string): Promise<HeldLock> {
  const lock = await tryLock(volumeFiles(home, name).lock);
  if (lock) return lock;
  throw new AegisError("VOLUME_BUSY", `volume ${name} is in use by another instance`, {
    hint: "a volume is a disk: stop the other instance first, or share a host directory",
  });
}

const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** @throws AegisError BAD_VOLUME */
export function checkVolumeName(name: string): string {
  if (volumeName.test(name)) return name;
  throw new AegisError("BAD_VOLUME", `"${name}" can't be the name of a volume`, {
    hint: "use letters, digits, _ . and -, starting with a letter or digit",
  });
}

/**
 * `HOST:GUEST`, `NAME:GUEST`, `GUEST` (anonymous), each with `:ro`, `:rw`, `:z`... A host path begins with `/`, `./`, `../` or `~`.
 * @throws AegisError BAD_VOLUME
 */
export function parseVolume(text: string, cwd: string, homeDirectory: string): VolumeMount {
  const wrong = (what: string) =>
    new AegisError("BAD_VOLUME", `-v ${text}: ${what}`, {
      hint: "write -v HOSTDIR:/guest/path, -v NAME:/guest/path, or :ro after it",
    });
  const parts = text.split(":");
  if (parts.length === 1) return { kind: "anonymous", target: guestPath(parts[0]!, wrong) };
  const [source = "", target = "", options = "", ...more] = parts;
  if (more.length > 0) throw wrong("too many colons");
  let readOnly = false;
  for (const option of options === "" ? [] : options.split(",")) {
    if (option === "ro") readOnly = true;
    // SELinux labels, consistency and propagation have no meaning between two kernels.
    else if (!/^(rw|z|Z|cached|delegated|consistent|nocopy|r?(private|shared|slave))$/.test(option)) {
      throw wrong(`"${option}" is not an option`);
    }
  }
  const guest = guestPath(target, wrong);
  if (/^(\/|\.\.?(\/|$)|~(\/|$))/.test(source)) {
    const expanded = source.replace(/^~(?=\/|$)/, homeDirectory);
    return { kind: "bind", hostPath: path.resolve(cwd, expanded), target: guest, readOnly };
  }
  if (!volumeName.test(source)) {
    throw wrong(`"${source}" is neither a path (begin it with / or ./) nor the name of a volume`);
  }
  return { kind: "volume", name: source, target: guest, readOnly };
}

/** `/tmp:size=64m,mode=1777`. @throws AegisError BAD_VOLUME */
export function parseTmpfs(text: string): VolumeMount {
  const wrong = (what: string) =>
    new AegisError("BAD_VOLUME", `--tmpfs ${text}: ${what}`, { hint: "write --tmpfs /path:size=64m" });
  const [target = "", options = ""] = text.split(":");
  let [size, mode]: [number | undefined, number | undefined] = [undefined, undefined];
  for (const option of options === "" ? [] : options.split(",")) {
    const [key, value] = option.split("=");
    if (key === "size" && value) size = parseSize(value);
    else if (key === "mode" && value && /^[0-7]{1,5}$/.test(value)) mode = Number.parseInt(value, 8);
    else if (!/^(rw|noexec|exec|nosuid|suid|nodev|dev)$/.test(option)) throw wrong(`"${option}" is not understood`);
  }
  return { kind: "tmpfs", target: guestPath(target, wrong), size, mode };
}

/**
 * `type=bind,source=DIR,target=/path,readonly`, `type=volume,...`, `type=tmpfs,...`.
 * @throws AegisError BAD_VOLUME
 */
export function parseMount(text: string, cwd: string, homeDirectory: string): VolumeMount {
  const wrong = (what: string) =>
    new AegisError("BAD_VOLUME", `--mount ${text}: ${what}`, {
      hint: "write --mount type=bind,source=DIR,target=/path",
    });
  const fields = new Map<string, string>();
  for (const part of text.split(",")) {
    const [key = "", ...value] = part.split("=");
    fields.set(key, value.length === 0 ? "true" : value.join("="));
  }
  const get = (...names: string[]) => names.map((name) => fields.get(name)).find((value) => value !== undefined);
  for (const key of fields.keys()) {
    if (!/^(type|source|src|target|dst|destination|readonly|ro|tmpfs-size|tmpfs-mode|consistency)$/.test(key)) {
      throw wrong(`"${key}" is not understood`);
    }
  }
  const target = get("target", "dst", "destination") ?? "";
  const source = get("source", "src");
  const readOnly = /^(true|1)$/.test(get("readonly", "ro") ?? "false");
  const type = get("type") ?? "volume";
  if (type === "tmpfs") {
    const options = [
      ...(fields.has("tmpfs-size") ? [`size=${fields.get("tmpfs-size")}`] : []),
      ...(fields.has("tmpfs-mode") ? [`mode=${fields.get("tmpfs-mode")}`] : []),
    ];
    return parseTmpfs([target, ...(options.length > 0 ? [options.join(",")] : [])].join(":"));
  }
  if (type === "volume" && source === undefined) return { kind: "anonymous", target: guestPath(target, wrong) };
  if ((type !== "bind" && type !== "volume") || source === undefined)
    throw wrong("type is bind (with source), volume or tmpfs");
  const from = type === "bind" && !/^[/.~]/.test(source) ? `./${source}` : source;
  return parseVolume(`${from}:${target}${readOnly ? ":ro" : ""}`, cwd, homeDirectory);
}

function guestPath(text: string, wrong: (what: string) => AegisError): string {
  if (!text.startsWith("/")) throw wrong(`"${text}" is not an absolute path in the guest`);
  const normal = path.posix.normalize(text).replace(/(.)\/$/, "$1");
  if (normal === "/") throw wrong("the root itself can't be a mount point");
  return normal;
}

/** Checks bind sources (directories or files) and makes the directories of named volumes. @throws AegisError BIND_MISSING, BIND_FILE */
export async function prepareVolumes(home: AegisHome, volumes: readonly VolumeMount[]): Promise<void> {
  for (const volume of volumes) {
    if (volume.kind === "volume")
      await mkdir(volumeFiles(home, volume.name).directory, { recursive: true, mode: 0o700 });
    if (volume.kind !== "bind") continue;
    const found = await stat(volume.hostPath).catch((error) => {
      if (!hasErrno(error, "ENOENT", "ENOTDIR", "EACCES")) throw error;
      throw new AegisError("BIND_MISSING", `${volume.hostPath} can't be shared: it does not exist or can't be read`, {
        hint: `create it first: mkdir -p ${volume.hostPath}`,
        cause: error,
      });
    });
    if (!found.isDirectory() && !found.isFile()) {
      throw new AegisError("BIND_FILE", `${volume.hostPath} can't be shared: it is neither a directory nor a file`, {
        hint: "share the directory that it is in",
      });
    }
  }
}

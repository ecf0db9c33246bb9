/**
 * Instances on disk: `$AEGIS_HOME/instances/<id>/`. The truth of "running" is `run.lock`, held by the supervisor for as long as
 * it lives: the kernel drops it however the supervisor ends, and no pid can be mistaken for another.
 */
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import type { InstanceId } from "../support/brands.js";
import { AegisError, hasErrno } from "../support/errors.js";
import { replaceFile, temporaryPath } from "../support/files.js";
import { type AegisHome, removeSocketDirectory } from "../support/home.js";
import { acquireLock, type HeldLock, tryLock, withLock } from "../support/locks.js";
import { type Instance, type InstanceConfig, type InstanceState, isActive } from "./types.js";

/** Every file of one instance. */
export interface InstanceFiles {
  readonly directory: string;
  readonly config: string;
  readonly state: string;
  readonly disk: string;
  /** The disk and settings before the image changed, for one rollback. */
  readonly previousDisk: string;
  readonly previousConfig: string;
  /** Anonymous volumes. */
  readonly volumesDisk: string;
  readonly console: string;
  readonly log: string;
  readonly supervisorLog: string;
  /** Held by the supervisor. */
  readonly runLock: string;
  /** Held by commands while they change or start the instance. */
  readonly changeLock: string;
  /** Private directory for sockets. */
  readonly socketDir: string;
  readonly socket: string;
}

export function filesOf(home: AegisHome, id: InstanceId): InstanceFiles {
  const directory = path.join(home.instances, id);
  const at = (name: string) => path.join(directory, name);
  const socketDir = path.join(home.sockets, id);
  return {
    directory,
    config: at("instance.json"),
    state: at("state.json"),
    disk: at("disk.ext4"),
    previousDisk: at("disk.previous.ext4"),
    previousConfig: at("instance.previous.json"),
    volumesDisk: at("volumes.ext4"),
    console: at("console.log"),
    log: at("log.jsonl"),
    supervisorLog: at("supervisor.log"),
    runLock: at("run.lock"),
    // Outside of the directory, so that it outlives `rm` and two commands never hold two different ones.
    changeLock: path.join(home.locks, `instance-${id}.lock`),
    socketDir,
    socket: path.join(socketDir, "control.sock"),
  };
}

/** Excludes everybody else who creates, renames or removes instances. */
export const withNames = <T>(home: AegisHome, body: () => Promise<T>): Promise<T> =>
  withLock(path.join(home.locks, "instances.lock"), body);

export const lockForChange = (home: AegisHome, id: InstanceId): Promise<HeldLock> =>
  acquireLock(filesOf(home, id).changeLock);

/** Makes the directory of a new instance; it appears complete or not at all. */
export async function createInstance(home: AegisHome, config: InstanceConfig): Promise<void> {
  const { directory } = filesOf(home, config.id);
  const temporary = temporaryPath(home.instances, config.id);
  try {
    await mkdir(temporary, { mode: 0o700 });
    const state: InstanceState = { schema: 1, status: "created" };
    await replaceFile(path.join(temporary, "instance.json"), toJson(config));
    await replaceFile(path.join(temporary, "state.json"), toJson(state));
    await rename(temporary, directory);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

export const writeConfig = (home: AegisHome, config: InstanceConfig): Promise<void> =>
  replaceFile(filesOf(home, config.id).config, toJson(config));

export const writeState = (home: AegisHome, id: InstanceId, state: InstanceState): Promise<void> =>
  replaceFile(filesOf(home, id).state, toJson(state));

const toJson = (value: object) => `${JSON.stringify(value, null, 2)}\n`;

/** Every instance, oldest first. */
export async function listInstances(home: AegisHome): Promise<readonly Instance[]> {
  const ids = (await readdir(home.instances)).filter((name) => /^[0-9a-f]{12}$/.test(name));
  const found = await Promise.all(ids.map((id) => readInstance(home, id as InstanceId)));
  return found
    .filter((instance) => instance !== undefined)
    .sort((a, b) => (a.config.createdAt < b.config.createdAt ? -1 : 1));
}

/** Paths of the image disks that instances lie on, or would after a rollback. */
export async function disksOfInstances(home: AegisHome): Promise<readonly string[]> {
  const all = await listInstances(home);
  const previous = await Promise.all(
    all.map(({ config }) => readJson<InstanceConfig>(filesOf(home, config.id).previousConfig)),
  );
  const configs = [...all.map(({ config }) => config), ...previous.filter((config) => config !== undefined)];
  return configs.flatMap(({ image }) => image.lowers.map((lower) => lower.path));
}

/** One instance, or undefined when it is gone. @throws AegisError INSTANCE_SCHEMA */
export async function readInstance(home: AegisHome, id: InstanceId): Promise<Instance | undefined> {
  const files = filesOf(home, id);
  const config = await readJson<InstanceConfig>(files.config);
  const state = await readJson<InstanceState>(files.state);
  if (!config || !state) return undefined;
  if (config.schema !== 1 || state.schema !== 1) {
    throw new AegisError("INSTANCE_SCHEMA", `instance ${id} was written by a newer aegis`, {
      hint: "upgrade aegis, or remove the instance's directory",
      details: { directory: files.directory },
    });
  }
  if (!isActive(state.status) || (await isSupervised(home, id))) return { config, state };
  // The state may have been read just before its supervisor finished it properly.
  const settled = (await readJson<InstanceState>(files.state)) ?? state;
  return { config, state: isActive(settled.status) ? crashed(settled) : settled };
}

/** Whether a supervisor lives. */
export async function isSupervised(home: AegisHome, id: InstanceId): Promise<boolean> {
  try {
    const lock = await tryLock(filesOf(home, id).runLock, { shared: true });
    lock?.release();
    return lock === undefined;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return false;
    throw error;
  }
}

const crashed = (state: InstanceState): InstanceState => ({
  ...state,
  status: "exited",
  exitCode: 137,
  reason: "its supervisor was killed, or the host went down",
  supervisorPid: undefined,
  vmmPid: undefined,
});

async function readJson<T>(file: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as T;
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw new AegisError("INSTANCE_STATE", `${file} can't be read`, {
      hint: "remove the instance's directory, or restore the file",
      cause: error,
    });
  }
}

/**
 * The instance of that name, id or beginning of an id.
 * @throws AegisError INSTANCE_UNKNOWN, INSTANCE_AMBIGUOUS
 */
export async function findInstance(home: AegisHome, nameOrId: string): Promise<Instance> {
  const all = await listInstances(home);
  const named = all.find(({ config }) => config.name === nameOrId || config.id === nameOrId);
  if (named) return named;
  const byPrefix = /^[0-9a-f]+$/.test(nameOrId) ? all.filter(({ config }) => config.id.startsWith(nameOrId)) : [];
  if (byPrefix.length === 1) return byPrefix[0]!;
  if (byPrefix.length > 1) {
    throw new AegisError("INSTANCE_AMBIGUOUS", `${byPrefix.length} instances begin with ${nameOrId}`, {
      hint: "give more digits, or the name",
    });
  }
  throw new AegisError("INSTANCE_UNKNOWN", `there is no instance ${nameOrId}`, {
    hint: all.length === 0 ? '"aegis run" starts one' : `there is ${all.map(({ config }) => config.name).join(", ")}`,
  });
}

export async function findByName(home: AegisHome, name: string): Promise<Instance | undefined> {
  return (await listInstances(home)).find(({ config }) => config.name === name);
}

/** Removes everything of an instance that is not supervised. The caller holds its change lock. */
export async function deleteInstance(home: AegisHome, id: InstanceId): Promise<void> {
  const files = filesOf(home, id);
  // The rename makes it vanish at once; what a crash leaves behind is swept by the next removal.
  const doomed = temporaryPath(home.instances, id);
  await rename(files.directory, doomed).catch((error) => {
    if (!hasErrno(error, "ENOENT")) throw error;
  });
  await rm(doomed, { recursive: true, force: true });
  removeSocketDirectory(files.socketDir);
}

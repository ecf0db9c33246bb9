/** Bringing instances up: `run` (new, the same again, or recreated from a changed image) and `start`. */
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { parseReference, repositoryOf } from "../oci/references.js";
import type { StoredImage } from "../oci/types.js";
import type { RootDisks } from "../rootfs/types.js";
import { type ResolvedSecret, resolveSecrets } from "../secrets/resolve.js";
import { openSecretStore } from "../secrets/store.js";
import { AegisError, hasErrno } from "../support/errors.js";
import { replaceFile } from "../support/files.js";
import type { AegisHome } from "../support/home.js";
import { type Launched, launchSupervisor, type SelfCommand } from "./launch.js";
import { removeInstance } from "./lifecycle.js";
import { checkInstanceName, nameFromImage, newInstanceId } from "./names.js";
import { reservePorts } from "./ports.js";
import { type ImageSettings, planInstance, portsToPublish, type RunFlags } from "./settings.js";
import {
  createInstance,
  deleteInstance,
  filesOf,
  findByName,
  findInstance,
  lockForChange,
  readInstance,
  withNames,
  writeConfig,
} from "./store.js";
import { type Instance, type InstanceConfig, isActive } from "./types.js";
import { prepareVolumes } from "./volumes.js";

export interface RunRequest {
  readonly reference: string;
  readonly image: StoredImage;
  readonly root: RootDisks;
  readonly settings: ImageSettings;
  readonly flags: RunFlags;
  readonly self: SelfCommand;
  readonly env: NodeJS.ProcessEnv;
  /** A client will attach before the app starts. */
  readonly attach: boolean;
}

export interface Started extends Launched {
  readonly config: InstanceConfig;
  /** What became of an instance of that name. */
  readonly outcome: "created" | "same" | "recreated";
}

/**
 * Runs an image: everything that can be wrong is found before anything boots.
 * @throws AegisError PORT_TAKEN, SECRET_MISSING, ALREADY_RUNNING, NAME_TAKEN, ...
 */
export async function runInstance(home: AegisHome, request: RunRequest): Promise<Started> {
  const { flags, image } = request;
  const id = newInstanceId();
  const suggested = nameFromImage(request.reference);
  // An ephemeral instance is not "the" instance of its image.
  const name = flags.name
    ? checkInstanceName(flags.name)
    : flags.autoRemove
      ? `${suggested}-${id.slice(0, 6)}`
      : suggested;
  const plan = async (from: { id: typeof id; createdAt: string }) =>
    await planInstance(image, request.reference, request.root, flags, request.settings, {
      ...from,
      name,
      defaultWorkspace: path.join(filesOf(home, from.id).directory, "workspace"),
    });
  const draft = await plan({ id, createdAt: new Date().toISOString() });
  const secrets = await resolve(home, draft, request.env);
  await prepareVolumes(
    home,
    draft.volumes.filter((volume) => !isDefaultWorkspace(home, draft, volume)),
  );
  const wanted = await portsToPublish(image, flags);

  const prepared = await withNames(home, async () => {
    const existing = await findByName(home, name);
    await using change = await keepable(await lockForChange(home, existing?.config.id ?? id));
    const current = existing && (await readInstance(home, existing.config.id));
    if (current) refuse(current, draft, flags);
    const ports = await reservePorts(wanted);
    const base = current ? await plan({ id: current.config.id, createdAt: current.config.createdAt }) : draft;
    const config = { ...base, ports };
    const outcome = current ? await renew(home, current.config, config) : "created";
    if (!current) await createInstance(home, config);
    for (const volume of config.volumes) {
      if (isDefaultWorkspace(home, config, volume)) await mkdir(volume.hostPath, { recursive: true, mode: 0o700 });
    }
    return { config, outcome, change: change.keep() } as const;
  });
  try {
    const launched = await launchSupervisor(home, prepared.config.id, request.self, {
      secrets,
      attach: request.attach,
    });
    const running = launched.running.catch(async (error: unknown) => {
      // An instance that never ran is no use to anybody; what there is to know is in the error.
      if (prepared.outcome === "created") await removeInstance(home, prepared.config.id, true).catch(() => undefined);
      throw error;
    });
    running.catch(() => undefined);
    return { ...launched, running, config: prepared.config, outcome: prepared.outcome };
  } catch (error) {
    if (prepared.outcome === "created") await deleteInstance(home, prepared.config.id);
    throw error;
  } finally {
    prepared.change.release();
  }
}

type HeldLock = Awaited<ReturnType<typeof lockForChange>>;

/** A lock that is released at the block's end unless it is handed on. */
function keepable(lock: HeldLock) {
  let kept = false;
  return {
    keep() {
      kept = true;
      return lock;
    },
    async [Symbol.asyncDispose]() {
      if (!kept) lock.release();
    },
  };
}

function isDefaultWorkspace(
  home: AegisHome,
  config: InstanceConfig,
  volume: InstanceConfig["volumes"][number],
): volume is Extract<InstanceConfig["volumes"][number], { kind: "bind" }> {
  return volume.kind === "bind" && volume.hostPath === path.join(filesOf(home, config.id).directory, "workspace");
}

function refuse(current: Instance, draft: InstanceConfig, flags: RunFlags): void {
  const { name } = current.config;
  if (isActive(current.state.status)) {
    throw new AegisError("ALREADY_RUNNING", `${name} is running already`, {
      hint: `stop it first (aegis stop ${name}), run a command in it (aegis exec ${name} ...), or start a second one: --name ${name}-2`,
    });
  }
  if (flags.autoRemove || repository(current.config.image.reference) !== repository(draft.image.reference)) {
    throw new AegisError(
      "NAME_TAKEN",
      `there is an instance ${name} already, made from ${current.config.image.reference}`,
      {
        hint: `give this one a name of its own: --name ${name}-2; or remove the other: aegis rm ${name}`,
      },
    );
  }
}

/** An image without tag and digest; an image id stands for itself. */
function repository(reference: string): string {
  try {
    return repositoryOf(parseReference(reference));
  } catch {
    return reference;
  }
}

/** The same instance with the settings of today; its disk starts anew only when the image's layers have changed. */
async function renew(home: AegisHome, before: InstanceConfig, now: InstanceConfig): Promise<"same" | "recreated"> {
  const files = filesOf(home, before.id);
  const changed = before.image.chainId !== now.image.chainId;
  if (changed) {
    await replaceFile(files.previousConfig, `${JSON.stringify(before, null, 2)}\n`);
    await rename(files.disk, files.previousDisk).catch(async (error) => {
      if (!hasErrno(error, "ENOENT")) throw error;
      await rm(files.previousDisk, { force: true });
    });
  }
  await writeConfig(home, now);
  return changed ? "recreated" : "same";
}

export interface StartOptions {
  readonly self: SelfCommand;
  readonly env: NodeJS.ProcessEnv;
  readonly attach: boolean;
  /** Puts back the disk and settings from before the image changed. */
  readonly rollback?: boolean | undefined;
}

/** Boots a stopped instance; undefined when it is running already. @throws AegisError INSTANCE_UNKNOWN, ... */
export async function startInstance(
  home: AegisHome,
  nameOrId: string,
  options: StartOptions,
): Promise<(Launched & { readonly config: InstanceConfig }) | undefined> {
  const found = await findInstance(home, nameOrId);
  const change = await lockForChange(home, found.config.id);
  try {
    const current = await findInstance(home, found.config.id);
    if (isActive(current.state.status)) return undefined;
    const config = options.rollback ? await rollBack(home, current.config) : current.config;
    const secrets = await resolve(home, config, options.env);
    await prepareVolumes(home, config.volumes);
    await reservePorts(config.ports);
    const launched = await launchSupervisor(home, config.id, options.self, { secrets, attach: options.attach });
    return { ...launched, config };
  } finally {
    change.release();
  }
}

const resolve = async (
  home: AegisHome,
  config: InstanceConfig,
  env: NodeJS.ProcessEnv,
): Promise<readonly ResolvedSecret[]> =>
  config.secrets.length === 0
    ? []
    : await resolveSecrets(config.secrets, { store: openSecretStore(home.secrets), env });

async function rollBack(home: AegisHome, now: InstanceConfig): Promise<InstanceConfig> {
  const files = filesOf(home, now.id);
  const text = await readFile(files.previousConfig, "utf8").catch((error) => {
    if (!hasErrno(error, "ENOENT")) throw error;
    throw new AegisError("NO_ROLLBACK", `${now.name} has no disk from before to go back to`, {
      hint: "one is kept when run finds that the image has changed, until the next change",
    });
  });
  const before = { ...(JSON.parse(text) as InstanceConfig), name: now.name };
  await rm(files.disk, { force: true });
  await rename(files.previousDisk, files.disk).catch((error) => {
    if (!hasErrno(error, "ENOENT")) throw error;
  });
  await writeConfig(home, before);
  await rm(files.previousConfig);
  return before;
}

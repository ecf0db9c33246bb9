/** `RUN --mount`: what each kind brings into the step, and what of it counts in the step's key. */
import type { RunMount } from "../../dockerfile/types.js";
import { type ByteString, encodeText } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import { cleanPath } from "../../support/tree-paths.js";
import type { BuildEnvironment } from "../environment.js";
import type { CacheVolume, RunMountSpec } from "../executors/types.js";
import { missingSource } from "../tree/copy.js";
import { digestSource } from "../tree/sources.js";
import type { BindDisk } from "./bind-disk.js";
import type { CopySource } from "./copy.js";
import { joinWorkdir } from "./workdir.js";

export interface StepMount {
  /** Part of the step's key; undefined when the mount has no say in it. */
  readonly key: string | undefined;
  /** undefined: an optional thing that isn't there. */
  spec(disk: BindDisk): Promise<RunMountSpec | undefined>;
  /** `NAME=value` for the step's environment; secret. */
  env?(): Promise<string | undefined>;
}

export interface MountSurroundings {
  readonly environment: BuildEnvironment;
  readonly workdir: string;
  /** Put before the ids of cache mounts (`BUILDKIT_CACHE_MOUNT_NS`). */
  readonly cacheNamespace: string;
  source(from: string | undefined): Promise<CopySource>;
}

/** @throws AegisError COPY_SOURCE_MISSING, CACHE_SOURCE, SECRET_MISSING, SSH_MISSING */
export async function stepMount(mount: RunMount, at: MountSurroundings): Promise<StepMount> {
  switch (mount.type) {
    case "bind":
      return await bindMount(mount, at);
    case "cache":
      return await cacheMount(mount, at);
    case "tmpfs": {
      const target = joinWorkdir(at.workdir, mount.target ?? "");
      const within = cleanPath(encodeText(mount.source ?? ""));
      if (within !== "") throw missingSource(within);
      const spec: RunMountSpec = { type: "tmpfs", target, size: mount.size, mode: 0o1777 };
      return { key: `tmpfs ${target} ${mount.size ?? ""}`, spec: async () => spec };
    }
    case "secret":
      return secretMount(mount, at);
    case "ssh":
      return sshMount(mount, at);
  }
}

interface MountSource {
  readonly source: CopySource;
  readonly path: ByteString;
  /** Of everything that is there. */
  readonly digest: string;
}

/** @throws AegisError COPY_SOURCE_MISSING */
async function mountSource(mount: RunMount, at: MountSurroundings): Promise<MountSource> {
  const source = await at.source(mount.from);
  const path = cleanPath(encodeText(mount.source ?? ""));
  const question = `bind ${path}`;
  let digest = await source.memory?.recall(question);
  if (digest === undefined) {
    digest = await digestSource(await source.open(), path);
    if (digest === undefined) throw missingSource(path);
    await source.memory?.remember(question, digest);
  }
  return { source, path, digest };
}

async function bindMount(mount: RunMount, at: MountSurroundings): Promise<StepMount> {
  const target = joinWorkdir(at.workdir, mount.target ?? "");
  const { source, path, digest } = await mountSource(mount, at);
  return {
    key: `bind ${target} ${digest} ${mount.readOnly}`,
    spec: async (disk) => {
      const { subpath, single } = await disk.add(await source.open(), path);
      return { type: "disk", target, disk: disk.path, subpath, single, readOnly: mount.readOnly };
    },
  };
}

async function cacheMount(mount: RunMount, at: MountSurroundings): Promise<StepMount> {
  const target = joinWorkdir(at.workdir, mount.target ?? "");
  const { from, mode, uid = 0, gid = 0 } = mount;
  if (from === undefined && cleanPath(mount.source ?? "") !== "") {
    throw new AegisError("CACHE_SOURCE", `a cache mount has no directory ${mount.source} of its own`, {
      hint: "say with from= what it shall begin with, or leave source= away",
    });
  }
  const seed = from === undefined ? undefined : await mountSource(mount, at);
  const made = mode !== undefined || mount.uid !== undefined || mount.gid !== undefined;
  // As in the reference, caches that begin differently are different caches.
  const beginning = seed ? `\0${seed.digest}` : made ? `\0${mode ?? 0o755} ${uid}:${gid}` : "";
  const cache: CacheVolume = {
    id: `${at.cacheNamespace}${mount.id ?? target}${beginning}`,
    sharing: mount.sharing ?? "shared",
    // Made by mkdir(2) under umask 022 there.
    mode: (mode ?? 0o755) & ~0o022,
    uid,
    gid,
  };
  return {
    // Its content never counts, but that there is one at this place does.
    key: `cache ${target} ${seed?.digest ?? ""}`,
    spec: async (disk) => {
      const spec = { type: "cache", target, readOnly: mount.readOnly } as const;
      if (!seed) return { ...spec, cache };
      const { subpath, single } = await disk.add(await seed.source.open(), seed.path);
      if (!single) return { ...spec, cache: { ...cache, seed: { disk: disk.path, subpath } } };
      throw new AegisError("CACHE_SOURCE", `a cache mount can't begin with /${seed.path}, which is a file`, {
        hint: "name a directory with source=, or use a bind mount",
      });
    },
  };
}

function secretMount(mount: RunMount, at: MountSurroundings): StepMount {
  const id = mount.id ?? mount.target?.split("/").pop() ?? "";
  const read = async (): Promise<Uint8Array | undefined> => {
    const secret = await at.environment.request.secrets[id]?.();
    if (secret === undefined && mount.required) {
      throw new AegisError("SECRET_MISSING", `the step needs the secret "${id}", which was not passed`, {
        hint: `pass it with --secret id=${id},src=FILE or --secret id=${id},env=VARIABLE`,
      });
    }
    return secret;
  };
  const asFile = mount.target !== undefined || mount.env === undefined;
  const target = mount.target === undefined ? `/run/secrets/${id}` : joinWorkdir(at.workdir, mount.target);
  return {
    key: undefined,
    spec: async () => {
      const content = await read();
      if (!asFile || content === undefined) return undefined;
      const { mode = 0o400, uid = 0, gid = 0 } = mount;
      return { type: "file", executable: false, target, content, mode, uid, gid };
    },
    env: async () => {
      if (mount.env === undefined) return undefined;
      const content = await read();
      return content && `${mount.env}=${Buffer.from(content).toString("utf8")}`;
    },
  };
}

/** Where the reference puts agents, and how programs find them. */
const agentTarget = "/run/buildkit/ssh_agent.0";

function sshMount(mount: RunMount, at: MountSurroundings): StepMount {
  const id = mount.id ?? "default";
  const hostPath = at.environment.request.agents[id];
  const target = mount.target === undefined ? agentTarget : joinWorkdir(at.workdir, mount.target);
  if (hostPath === undefined && mount.required) {
    throw new AegisError("SSH_MISSING", `the step needs the SSH agent "${id}", which was not passed`, {
      hint: id === "default" ? "pass it with --ssh default" : `pass it with --ssh ${id}=SOCKET`,
    });
  }
  return {
    key: undefined,
    spec: async () =>
      hostPath === undefined
        ? undefined
        : { type: "socket", target, hostPath, mode: mount.mode ?? 0o600, uid: mount.uid ?? 0, gid: mount.gid ?? 0 },
    env: async () => (hostPath === undefined ? undefined : `SSH_AUTH_SOCK=${target}`),
  };
}

/** RUN: a command in the tree, through an executor; what it changed is the layer. */
import { randomBytes } from "node:crypto";
import type { Platform } from "../../oci/types.js";
import { type ByteString, decodeText, encodeText } from "../../support/brands.js";
import type { TreeSink } from "../../support/tree.js";
import { cleanPath } from "../../support/tree-paths.js";
import type { BuildEnvironment } from "../environment.js";
import { checkRunnable } from "../executors/foreign.js";
import type { MountPoint, RunMountSpec } from "../executors/types.js";
import type { StepHandle } from "../progress.js";
import type { RootStack } from "../roots.js";
import { resolveUser } from "../tree/users.js";
import { resolvePath, type TreeView } from "../tree/view.js";
import type { NetworkMode } from "../types.js";
import { BindDisk } from "./bind-disk.js";
import { LogTail, runFailed } from "./run-failure.js";
import type { StepMount } from "./run-mounts.js";
import { keyOf, type LayerStep } from "./step.js";

export interface RunInput {
  readonly createdBy: string;
  readonly argv: readonly string[];
  /** For messages: the command as the user wrote it. */
  readonly command: string;
  readonly env: readonly string[];
  /** Proxy settings that were passed without being declared; in no key. */
  readonly quietEnv: readonly string[];
  readonly cwd: string;
  readonly user: string;
  readonly network: NetworkMode;
  readonly privileged: boolean;
  readonly hostname: string;
  readonly mounts: readonly StepMount[];
  readonly platform: string;
  /** What the programs of the tree are built for. */
  readonly programs: Platform;
  readonly epoch: number | undefined;
  /** Where the instruction stands, for the message when it fails. */
  readonly excerpt: string;
  readonly startLine: number;
}

const scratchSize = 64 * 2 ** 30;
const defaultShm = 64 << 20;

/** What every step gets mounted; a root that lacks the places keeps lacking them. */
const runtimeMounts: readonly MountPoint[] = [
  { path: "dev", type: "directory" },
  { path: "proc", type: "directory" },
  { path: "sys", type: "directory" },
  { path: "etc/resolv.conf", type: "file" },
  { path: "etc/hosts", type: "file" },
];

export function runStep(
  input: RunInput,
  roots: RootStack,
  environment: BuildEnvironment,
  progress: () => StepHandle,
): LayerStep {
  let scratch: string | undefined;
  return {
    createdBy: input.createdBy,
    calledAs: `mount / from exec ${input.command}`,
    key: async () =>
      keyOf([
        "run",
        roots.chainId,
        input.argv,
        [...input.env].sort(),
        [input.cwd, input.user, input.network, input.privileged, input.hostname, input.platform],
        input.mounts.flatMap((mount) => mount.key ?? []),
        environment.request.extraHosts.map(({ name, address }) => [name, address]),
        [environment.request.shmSize ?? defaultShm, input.epoch ?? null],
        ...environment.request.limits.map(({ name, soft, hard }) => [name, soft, hard]),
      ]),
    async produce(sink) {
      scratch = await environment.temporary("scratch.ext4");
      await execute(input, roots, environment, progress(), scratch);
      await pushDiff(scratch, roots, environment, input.epoch, sink);
    },
    stored: async () => ({ scratch }),
  };
}

async function execute(
  input: RunInput,
  roots: RootStack,
  environment: BuildEnvironment,
  progress: StepHandle,
  scratch: string,
): Promise<void> {
  const { request } = environment;
  const executor = await environment.executor();
  await checkRunnable(input.programs, executor.name, input.excerpt);
  const lowers = executor.stacksScratch ? await roots.lowers() : await roots.imageDisks();
  const view = await roots.lookups();
  const user = await resolveUser(view, input.user);
  const { createWritableDisk } = await import("../../rootfs/writable.js");
  await createWritableDisk(scratch, {
    sizeBytes: scratchSize,
    uuid: randomBytes(16),
    over: await roots.diskContents(),
    // A machine's kernel may be gone before it has written everything; containers are on this one.
    passing: executor.name === "container",
    mtime: { sec: input.epoch ?? Math.floor(Date.now() / 1000), nsec: 0 },
  });
  const mounts: RunMountSpec[] = [];
  const secretEnv: string[] = [];
  await using binds = new BindDisk(await environment.temporary("binds.ext4"));
  for (const mount of input.mounts) {
    const spec = await mount.spec(binds);
    if (spec) mounts.push(await resolveTarget(view, spec));
    const pair = await mount.env?.();
    if (pair !== undefined) secretEnv.push(pair);
  }
  await binds.finish();
  // A mount below another comes after it, in whatever order they were written.
  mounts.sort((a, b) => (a.target < b.target ? -1 : 1));
  const tail = new LogTail();
  const outcome = await executor.run({
    argv: input.argv,
    env: withHome([...input.env, ...input.quietEnv, ...secretEnv], user.home),
    cwd: input.cwd,
    user,
    network: input.network,
    privileged: input.privileged,
    hostname: input.hostname,
    extraHosts: request.extraHosts,
    shmSize: request.shmSize ?? defaultShm,
    limits: request.limits,
    memory: request.memory,
    mounts,
    lowers,
    mountPoints: [...runtimeMounts, ...mounts.map(mountPoint)],
    scratch,
    output: (stream, chunk) => {
      tail.push(chunk);
      progress.output(stream, chunk);
    },
    note: (text) => progress.note(text),
    signal: request.signal,
  });
  if (outcome.exitCode !== 0 || outcome.startError !== undefined) throw runFailed(input, outcome, tail);
}

/** A HOME that is empty counts as none. */
function withHome(env: readonly string[], home: string): readonly string[] {
  const set = env.filter((pair) => pair.startsWith("HOME="));
  if (set.length === 0) return [...env, `HOME=${home}`];
  return set.at(-1) === "HOME=" ? env.map((pair) => (pair === "HOME=" ? `HOME=${home}` : pair)) : env;
}

/** Targets lead through the image's own links, `/var/run` to `/run` for one. */
async function resolveTarget(view: TreeView, mount: RunMountSpec): Promise<RunMountSpec> {
  const target = await resolvePath(view, encodeText(mount.target));
  const resolved = { ...mount, target: `/${decodeText(target)}` };
  if (resolved.type !== "tmpfs") return resolved;
  // As runc has it: a tmpfs looks like the directory that it covers.
  return { ...resolved, mode: (await view.lstat(target))?.mode ?? resolved.mode };
}

function mountPoint(mount: RunMountSpec): MountPoint {
  const file = mount.type === "file" || mount.type === "socket" || (mount.type === "disk" && mount.single);
  const mode = mount.type === "tmpfs" ? mount.mode : undefined;
  return { path: cleanPath(mount.target), type: file ? "file" : "directory", mode };
}

/** Reads what the step left in its scratch disk. */
async function pushDiff(
  scratch: string,
  roots: RootStack,
  environment: BuildEnvironment,
  epoch: number | undefined,
  sink: TreeSink,
): Promise<void> {
  const [{ openDisk }, { diffUpper }] = await Promise.all([
    import("../../rootfs/disk-tree.js"),
    import("../../rootfs/diff.js"),
  ]);
  const disk = openDisk(scratch, { top: "upper" as ByteString });
  environment.closeAtEnd(disk);
  const view = await roots.lookups();
  const skip = new Set(runtimeMounts.map(({ path }) => path as ByteString));
  const now = epoch ?? Math.floor(Date.now() / 1000);
  for (const { path, type } of runtimeMounts) {
    // The reference leaves the mount points of kernel filesystems in the first RUN's layer.
    if (type !== "directory" || (await view.lstat(path as ByteString))) continue;
    const mtime = { sec: now, nsec: 0 };
    sink.entry({ path: path as ByteString, type: "directory", mode: 0o755, uid: 0, gid: 0, size: 0, mtime });
  }
  await diffUpper(disk.view, await roots.diskContents(), sink, { skip });
}

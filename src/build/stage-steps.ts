/** From expanded instructions to steps: what each needs of the stage's state is fixed here, before its key is made. */
import { excerpt } from "../dockerfile/errors.js";
import { runCommandLine } from "../dockerfile/instructions/run.js";
import type { Dockerfile, InstructionOf } from "../dockerfile/types.js";
import type { Platform, RuntimeConfig } from "../oci/types.js";
import { AegisError } from "../support/errors.js";
import { type GitAddress, isRemoteFile, parseGitAddress } from "./context/git-address.js";
import type { GitTree } from "./context/trees.js";
import { checkEntitled } from "./entitlements.js";
import type { BuildEnvironment } from "./environment.js";
import type { RunMountSpec } from "./executors/types.js";
import type { StepHandle } from "./progress.js";
import type { RootStack } from "./roots.js";
import { isProxyArg, platformText, type Scope } from "./scope.js";
import { nowSeconds } from "./stage.js";
import { shellOf } from "./steps/config.js";
import { type CopyItem, type CopySource, copyStep } from "./steps/copy.js";
import { runStep } from "./steps/run.js";
import { type MountSurroundings, type StepMount, stepMount } from "./steps/run-mounts.js";
import type { LayerStep } from "./steps/step.js";
import { joinWorkdir } from "./steps/workdir.js";

/** What steps of a stage can reach outside of it. */
export interface StageInputs {
  /** The build context. */
  context(): Promise<CopySource>;
  /** `--from`: a stage, a named context or an image. */
  from(reference: string, options: { readonly numbers: boolean }): Promise<CopySource>;
  /** ADD of a repository. */
  repository(address: GitAddress): Promise<GitTree>;
}

export interface StepScope {
  readonly dockerfile: Dockerfile;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly inputs: StageInputs;
  readonly environment: BuildEnvironment;
  readonly config: RuntimeConfig;
  readonly platform: Platform;
  /** What the programs of the tree are built for. */
  readonly programs: Platform;
  readonly roots: RootStack;
  readonly scope: Scope;
}

export async function copyLayerStep(instruction: InstructionOf<"COPY" | "ADD">, at: StepScope): Promise<LayerStep> {
  const { epoch } = at.environment.request;
  const from = instruction.kind === "COPY" ? instruction.from : undefined;
  const workdir = at.config.WorkingDir || "/";
  return copyStep(
    {
      createdBy: copyHistory(instruction),
      items: instruction.kind === "ADD" ? addItems(instruction, at) : copyItems(instruction),
      heredocs: instruction.heredocs,
      destination: destinationOf(workdir, instruction.destination),
      chown: instruction.chown,
      chmod: instruction.chmod,
      link: instruction.link,
      parents: instruction.kind === "COPY" && instruction.parents,
      exclude: instruction.exclude,
      source: () => (from === undefined ? at.inputs.context() : at.inputs.from(from, { numbers: true })),
      add: instruction.kind === "ADD" && {
        unpack: { local: instruction.unpack ?? true, remote: instruction.unpack ?? false },
        spool: () => at.environment.temporary("unpacked"),
      },
      now: nowSeconds(epoch),
      epoch,
    },
    at.roots,
  );
}

function copyItems({ sources }: InstructionOf<"COPY">): readonly CopyItem[] {
  return sources.map((word) => {
    if (!isRemoteFile(word) && parseGitAddress(word) === undefined) return { type: "path", word };
    throw new AegisError("COPY_REMOTE", `COPY takes nothing from ${word}`, { hint: "ADD does" });
  });
}

/** Files of the context, of the web and of repositories, in the order in which they are named. */
function addItems(instruction: InstructionOf<"ADD">, at: StepScope): readonly CopyItem[] {
  const { sources, checksum, heredocs } = instruction;
  const { home, request } = at.environment;
  const items = sources.map((word): CopyItem => {
    const address = parseGitAddress(word);
    if (address) {
      const kept = instruction.keepGitDir || address.keepGitDir;
      const whole = { ...address, keepGitDir: kept, commit: checksum ?? address.commit };
      return { type: "git", address: whole, open: once(() => at.inputs.repository(whole)) };
    }
    if (!isRemoteFile(word)) return { type: "path", word };
    return {
      type: "download",
      start: once(async () => {
        const { download } = await import("./context/download.js");
        return await download(home.cache, word, checksum, request.signal);
      }),
    };
  });
  if (checksum !== undefined && (items.length !== 1 || heredocs.length > 0 || items[0]!.type === "path")) {
    throw new AegisError("CHECKSUM_UNSUPPORTED", "--checksum is for one file of the web, or one git repository", {
      hint: "split the ADD, and leave the flag away for files of the context",
    });
  }
  return items;
}

function once<T>(body: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= body();
    return result;
  };
}

/** What history says of COPY and ADD: expanded words, and of the flags only those that change the files themselves. */
function copyHistory({ kind, chown, chmod, sources, heredocs, destination }: InstructionOf<"COPY" | "ADD">): string {
  const flags = [chown === undefined ? [] : `--chown=${chown}`, chmod === undefined ? [] : `--chmod=${chmod}`].flat();
  const words = [...flags, ...sources, ...heredocs.map(({ name }) => `<<${name}`), destination];
  return `${kind} ${words.join(" ")} # buildkit`;
}

/** Absolute, the trailing slash kept: it says that the destination is a directory. */
function destinationOf(workdir: string, destination: string): string {
  const absolute = joinWorkdir(workdir, destination);
  const directory = /(^|\/)\.?$/.test(destination);
  return directory && absolute !== "/" ? `${absolute}/` : absolute;
}

export async function runLayerStep(
  instruction: InstructionOf<"RUN">,
  at: StepScope,
  progress: () => StepHandle,
): Promise<LayerStep> {
  const { request } = at.environment;
  checkEntitled(instruction, request, at.dockerfile);
  if (instruction.devices.length > 0) {
    throw new AegisError("RUN_DEVICE_UNSUPPORTED", "RUN --device: steps have no devices of the host", {
      hint: "do what needs the device when the machine runs, not while it is built",
    });
  }
  const { argv, files } = runWords(instruction, at.config);
  const history = [...at.scope.argsForHistory(), ...argv].join(" ");
  const surroundings: MountSurroundings = {
    environment: at.environment,
    workdir: at.config.WorkingDir || "/",
    cacheNamespace: at.buildArgs.BUILDKIT_CACHE_MOUNT_NS ?? "",
    source: (from) => (from === undefined ? at.inputs.context() : at.inputs.from(from, { numbers: false })),
  };
  const mounts: StepMount[] = [];
  for (const mount of instruction.mounts) mounts.push(await stepMount(mount, surroundings));
  const quietEnv = Object.entries(at.buildArgs)
    .filter(([name]) => isProxyArg(name) && !at.scope.declares(name))
    .map(([name, value]) => `${name}=${value}`);
  return runStep(
    {
      createdBy: `RUN ${history} # buildkit`,
      argv,
      command: argv.join(" "),
      env: at.scope.environment(),
      quietEnv,
      cwd: joinWorkdir("/", at.config.WorkingDir || "/"),
      user: at.config.User ?? "",
      network: instruction.network === "default" ? request.network : instruction.network,
      privileged: instruction.security === "insecure",
      hostname: at.buildArgs.BUILDKIT_SANDBOX_HOSTNAME ?? "buildkitsandbox",
      mounts: [...files, ...mounts],
      platform: platformText(at.platform),
      programs: at.programs,
      epoch: request.epoch,
      excerpt: `${at.dockerfile.file.name}:${instruction.range.startLine}\n${excerpt(at.dockerfile.file, instruction.range)}`,
      startLine: instruction.range.startLine,
    },
    at.roots,
    at.environment,
    progress,
  );
}

/** The script of a heredoc that names its own interpreter becomes a file that is there during the step. */
function runWords(
  instruction: InstructionOf<"RUN">,
  config: RuntimeConfig,
): { readonly argv: readonly string[]; readonly files: readonly StepMount[] } {
  const { argv, script } = runCommandLine(instruction, shellOf(config));
  if (script === undefined) return { argv, files: [] };
  const target = `${script.directory}/${script.name}`;
  const content = Buffer.from(script.content);
  const file: RunMountSpec = { type: "file", executable: true, target, content, mode: 0o755, uid: 0, gid: 0 };
  return { argv, files: [{ key: `script ${target} ${script.content}`, spec: async () => file }] };
}

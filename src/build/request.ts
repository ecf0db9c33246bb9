/** What people type after `aegis build`, checked and made precise. */
import { statSync } from "node:fs";
import path from "node:path";
import { hostPlatform, parsePlatform } from "../oci/platforms.js";
import { normaliseReference } from "../oci/references.js";
import { AegisError } from "../support/errors.js";
import { parseSize } from "../support/sizes.js";
import { type CacheTarget, cacheSource, cacheTarget } from "./request-cache.js";
import { buildOutputs } from "./request-outputs.js";
import { buildSecrets, sshAgents } from "./request-secrets.js";
import type { BuildRequest, ExtraHost, NamedContext } from "./types.js";

export interface BuildFlags {
  readonly path: string;
  readonly file: string | undefined;
  readonly tags: readonly string[];
  readonly buildArgs: readonly string[];
  readonly labels: readonly string[];
  readonly target: string | undefined;
  readonly buildContexts: readonly string[];
  readonly annotations: readonly string[];
  readonly noCacheFilter: readonly string[];
  readonly platform: string | undefined;
  readonly pull: boolean;
  readonly noCache: boolean;
  readonly network: string | undefined;
  readonly addHost: readonly string[];
  readonly shmSize: string | undefined;
  readonly secrets: readonly string[];
  readonly ssh: readonly string[];
  readonly isolation: string | undefined;
  readonly progress: string | undefined;
  readonly cacheFrom: readonly string[];
  readonly cacheTo: readonly string[];
  readonly output: readonly string[];
  readonly push: boolean;
  readonly load: boolean;
}

/** What only the caller can give. */
export interface BuildStreams {
  /** Standard input, when `wantsInput` says so. */
  readonly text?: Uint8Array | undefined;
  readonly stdout: (chunk: Uint8Array) => Promise<void>;
}

/** In place of PATH or after `-f`: the Dockerfile comes on standard input. */
const standardInput = "-";

/** Whether the Dockerfile is to be read from standard input. */
export const wantsInput = (flags: { readonly path: string; readonly file: string | undefined }): boolean =>
  flags.file === standardInput || (flags.path === standardInput && flags.file === undefined);

const progressModes = ["auto", "plain", "tty", "quiet", "none", "rawjson"] as const;

/** @throws AegisError USAGE, CONTEXT_MISSING, BAD_SIZE, and what parsing names and platforms throws */
export function buildRequest(
  flags: BuildFlags,
  env: NodeJS.ProcessEnv,
  streams: BuildStreams,
): { readonly request: BuildRequest; readonly progress: (typeof progressModes)[number] } {
  const buildArgs = pairs("--build-arg", flags.buildArgs, (name) => env[name]);
  const epochText = buildArgs.SOURCE_DATE_EPOCH ?? env.SOURCE_DATE_EPOCH;
  const platform = flags.platform ?? env.DOCKER_DEFAULT_PLATFORM;
  return {
    request: {
      context: flags.path === standardInput ? undefined : contextDirectory(flags.path),
      file: flags.file === standardInput ? undefined : flags.file,
      text: streams.text,
      contexts: Object.fromEntries(flags.buildContexts.map(namedContext)),
      annotations: pairs("--annotation", flags.annotations, () => ""),
      noCacheStages: flags.noCacheFilter.flatMap((word) => word.split(",")).map((word) => word.toLowerCase()),
      tags: flags.tags.map(normaliseReference),
      target: flags.target,
      buildArgs,
      labels: pairs("--label", flags.labels, () => ""),
      noCache: flags.noCache,
      isolation: oneOf("--isolation", flags.isolation ?? env.AEGIS_ISOLATION ?? "auto", ["auto", "vm", "container"]),
      platform: platform ? parsePlatform(platform) : hostPlatform(),
      pull: flags.pull,
      network: oneOf("--network", flags.network ?? "default", ["default", "none", "host"]),
      extraHosts: flags.addHost.map(extraHost),
      secrets: buildSecrets(flags.secrets, env),
      agents: sshAgents(flags.ssh, env),
      shmSize: flags.shmSize === undefined ? undefined : parseSize(flags.shmSize),
      cacheFrom: flags.cacheFrom.map(cacheSource),
      cacheTo: cacheTargets(flags.cacheTo, buildArgs),
      outputs: buildOutputs(flags.output, flags),
      stdout: streams.stdout,
      epoch: epochText ? epochSeconds(epochText) : undefined,
    },
    progress: oneOf("--progress", flags.progress ?? (env.BUILDKIT_PROGRESS || "auto"), progressModes),
  };
}

/** `NAME=value`, or `NAME` alone, which takes what `fallback` has for it. */
function pairs(
  flag: string,
  words: readonly string[],
  fallback: (name: string) => string | undefined,
): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    if (name === "") throw usage(`${flag} "${word}" has no name`, `write it as ${flag} NAME=value`);
    const value = equals < 0 ? fallback(name) : word.slice(equals + 1);
    if (value !== undefined) found[name] = value;
  }
  return found;
}

function namedContext(word: string): readonly [string, NamedContext] {
  const equals = word.indexOf("=");
  const name = word.slice(0, Math.max(0, equals)).toLowerCase();
  const value = word.slice(equals + 1);
  if (name === "" || value === "") {
    throw usage(
      `--build-context "${word}" names no context`,
      "write it as --build-context name=DIR or name=docker-image://REF",
    );
  }
  const image = /^docker-image:\/\/(.+)$/.exec(value)?.[1];
  if (image !== undefined) return [name, { type: "image", reference: image }];
  if (/^[a-z-]+:\/\//.test(value)) {
    throw usage(
      `--build-context ${name}: "${value}" is of no kind that aegis reads`,
      "give a directory or docker-image://REF",
    );
  }
  return [name, { type: "directory", path: contextDirectory(value) }];
}

function oneOf<T extends string>(flag: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((it) => it === value);
  if (found !== undefined) return found;
  throw usage(`${flag} can't be "${value}"`, `choose one of ${allowed.join(", ")}`);
}

function extraHost(word: string): ExtraHost {
  const match = /^([^:=]+)[:=](.+)$/.exec(word);
  if (match) return { name: match[1]!, address: match[2]!.replace(/^\[(.*)\]$/, "$1") };
  throw usage(`--add-host "${word}" names no address`, "write it as --add-host name:address");
}

function cacheTargets(words: readonly string[], buildArgs: Readonly<Record<string, string>>): readonly CacheTarget[] {
  const targets = words.map(cacheTarget);
  const inline = buildArgs.BUILDKIT_INLINE_CACHE;
  return inline === "1" || inline === "true" ? [...targets, { type: "inline" }] : targets;
}

function epochSeconds(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw usage(`SOURCE_DATE_EPOCH "${text}" is not a time`, "give it in whole seconds since 1970");
}

/** @throws AegisError CONTEXT_MISSING */
function contextDirectory(word: string): string {
  const directory = path.resolve(word);
  const stat = statSync(directory, { throwIfNoEntry: false });
  if (stat?.isDirectory()) return directory;
  throw new AegisError("CONTEXT_MISSING", stat ? `${word} is not a directory` : `there is no directory ${word}`, {
    hint: "give the directory that holds the Dockerfile and what it copies",
  });
}

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

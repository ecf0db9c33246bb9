/** What people type after `aegis build`, checked and made precise. */
import { createReadStream, statSync } from "node:fs";
import path from "node:path";
import { formatPlatform, hostPlatform, parsePlatform } from "../oci/platforms.js";
import { normaliseReference } from "../oci/references.js";
import type { Platform } from "../oci/types.js";
import { parseBoolean } from "../support/booleans.js";
import { AegisError } from "../support/errors.js";
import { parseSize } from "../support/sizes.js";
import { isRemoteFile, parseGitAddress, usesSsh } from "./context/git-address.js";
import { contextName } from "./context/named.js";
import { parseEntitlements } from "./entitlements.js";
import { parseAnnotation } from "./export/annotations.js";
import { type AttestFlags, provenanceMode } from "./request-attest.js";
import { type CacheTarget, cacheSource, cacheTarget } from "./request-cache.js";
import { parseUlimit, stepHost } from "./request-limits.js";
import { buildOutputs } from "./request-outputs.js";
import { buildSecrets, sshAgents } from "./request-secrets.js";
import type { BuildRequest, ContextSource, NamedContext } from "./types.js";

export interface BuildFlags extends AttestFlags {
  readonly path: string;
  readonly file: string | undefined;
  readonly tags: readonly string[];
  readonly buildArgs: readonly string[];
  readonly labels: readonly string[];
  readonly target: string | undefined;
  readonly buildContexts: readonly string[];
  readonly annotations: readonly string[];
  readonly noCacheFilter: readonly string[];
  /** Each may list several, with commas. */
  readonly platforms: readonly string[];
  readonly pull: boolean;
  readonly noCache: boolean;
  readonly network: string | undefined;
  readonly addHost: readonly string[];
  readonly shmSize: string | undefined;
  readonly allow: readonly string[];
  readonly ulimits: readonly string[];
  readonly memory: string | undefined;
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
  /** The Dockerfile, when it came on standard input. */
  readonly text?: Uint8Array | undefined;
  /** The context, when that did. */
  readonly archive?: AsyncIterable<Uint8Array> | undefined;
  readonly stdout: (chunk: Uint8Array) => Promise<void>;
}

/** In place of PATH or after `-f`: the Dockerfile comes on standard input. */
const standardInput = "-";

/**
 * What is to be read from standard input: the Dockerfile, or what the input itself shows to be one or a context in a tar.
 * @throws AegisError USAGE when it would have to be both
 */
export function wantedInput(flags: {
  readonly path: string;
  readonly file: string | undefined;
}): "dockerfile" | "either" | undefined {
  if (flags.path !== standardInput) return flags.file === standardInput ? "dockerfile" : undefined;
  if (flags.file !== standardInput) return "either";
  throw usage("standard input can't be both the context and the Dockerfile", "give a directory as PATH, or no -f");
}

const progressModes = ["auto", "plain", "tty", "quiet", "none", "rawjson"] as const;

/** @throws AegisError USAGE, CONTEXT_MISSING, BAD_SIZE, and what parsing names and platforms throws */
export function buildRequest(
  flags: BuildFlags,
  env: NodeJS.ProcessEnv,
  streams: BuildStreams,
): { readonly request: BuildRequest; readonly progress: (typeof progressModes)[number] } {
  const buildArgs = pairs("--build-arg", flags.buildArgs, (name) => env[name]);
  const epochText = buildArgs.SOURCE_DATE_EPOCH ?? env.SOURCE_DATE_EPOCH;
  const context = mainContext(flags.path, streams.archive);
  const platforms = wantedPlatforms(flags.platforms, env);
  const annotations = flags.annotations.flatMap(parseAnnotation);
  const network = oneOf("--network", flags.network ?? "default", ["default", "none", "host"]);
  return {
    request: {
      context,
      directory: process.cwd(),
      file: flags.file === standardInput ? undefined : flags.file,
      text: streams.text,
      contexts: Object.fromEntries(flags.buildContexts.map(namedContextOf)),
      annotations,
      provenance: provenanceMode(flags),
      noCacheStages: flags.noCacheFilter.flatMap((word) => word.split(",")).map((word) => word.toLowerCase()),
      tags: flags.tags.map(normaliseReference),
      target: flags.target,
      buildArgs,
      labels: pairs("--label", flags.labels, () => ""),
      noCache: flags.noCache,
      isolation: oneOf("--isolation", flags.isolation ?? env.AEGIS_ISOLATION ?? "auto", ["auto", "vm", "container"]),
      platform: platforms[0]!,
      platforms,
      asIndex: platforms.length > 1 || asIndex(buildArgs.BUILDKIT_MULTI_PLATFORM),
      pull: flags.pull,
      network,
      extraHosts: flags.addHost.map((word) => stepHost(word, network)),
      allowed: parseEntitlements(flags.allow, network),
      limits: flags.ulimits.map(parseUlimit),
      memory: flags.memory === undefined ? undefined : parseSize(flags.memory),
      secrets: buildSecrets(flags.secrets, env),
      agents: sshAgents(
        needsAgent(context) && flags.ssh.length === 0 && env.SSH_AUTH_SOCK ? ["default"] : flags.ssh,
        env,
      ),
      shmSize: flags.shmSize === undefined ? undefined : parseSize(flags.shmSize),
      cacheFrom: flags.cacheFrom.map(cacheSource),
      cacheTo: cacheTargets(flags.cacheTo, buildArgs),
      outputs: buildOutputs(flags.output, flags, annotations),
      stdout: streams.stdout,
      epoch: epochText ? epochSeconds(epochText) : undefined,
    },
    progress: oneOf("--progress", flags.progress ?? (env.BUILDKIT_PROGRESS || "auto"), progressModes),
  };
}

function mainContext(word: string, archive: AsyncIterable<Uint8Array> | undefined): ContextSource | undefined {
  if (archive) return { type: "archive", name: "standard input", open: () => archive };
  return word === standardInput ? undefined : contextSource(word);
}

/** A context that is reached by ssh gets the agent without being asked, as in the reference. */
const needsAgent = (context: ContextSource | undefined): boolean => context?.type === "git" && usesSsh(context.address);

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

function namedContextOf(word: string): readonly [string, NamedContext] {
  const equals = word.indexOf("=");
  const name = word.slice(0, Math.max(0, equals));
  const value = word.slice(equals + 1);
  if (name === "" || value === "") {
    throw usage(
      `--build-context "${word}" names no context`,
      "write it as --build-context name=DIR, a git or web address, docker-image://REF or oci-layout://DIR:TAG",
    );
  }
  return [contextName(name), namedSource(name, value)];
}

function namedSource(name: string, value: string): NamedContext {
  const image = /^docker-image:\/\/(.+)$/.exec(value)?.[1];
  if (image !== undefined) return { type: "image", reference: image === "scratch" ? image : normaliseReference(image) };
  const layout = /^oci-layout:\/\/([^:@]+)(?::([^@]+))?(?:@(.+))?$/.exec(value);
  if (layout) {
    // A digest says it all; which tag it had is of no account.
    const [, directory, tag, digest] = layout;
    const one = digest ?? tag;
    return {
      type: "image",
      reference: `oci-layout://${path.resolve(directory!)}${one === undefined ? "" : `:${one}`}`,
    };
  }
  if (value.startsWith("target:")) {
    throw usage(
      `--build-context ${name}: "${value}" is a target of a bake file, of which there is none`,
      "build that stage to an image first, and give docker-image://REF",
    );
  }
  return contextSource(value);
}

/** Each platform once, in the order in which they are named; `local` is this machine's. */
function wantedPlatforms(words: readonly string[], env: NodeJS.ProcessEnv): readonly Platform[] {
  const named = words.length > 0 ? words : [env.DOCKER_DEFAULT_PLATFORM ?? ""];
  const listed = named
    .flatMap((word) => word.split(","))
    .map((word) => word.trim())
    .filter(Boolean);
  const platforms = listed.map((word) => (word === "local" ? hostPlatform() : parsePlatform(word)));
  const distinct = new Map(platforms.map((platform) => [formatPlatform(platform), platform]));
  return distinct.size === 0 ? [hostPlatform()] : [...distinct.values()];
}

function oneOf<T extends string>(flag: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((it) => it === value);
  if (found !== undefined) return found;
  throw usage(`${flag} can't be "${value}"`, `choose one of ${allowed.join(", ")}`);
}

function cacheTargets(words: readonly string[], buildArgs: Readonly<Record<string, string>>): readonly CacheTarget[] {
  const targets = words.map(cacheTarget);
  return parseBoolean(buildArgs.BUILDKIT_INLINE_CACHE ?? "") ? [...targets, { type: "inline" }] : targets;
}

function asIndex(text: string | undefined): boolean {
  if (!text) return false;
  const wanted = parseBoolean(text);
  if (wanted !== undefined) return wanted;
  throw usage(`BUILDKIT_MULTI_PLATFORM "${text}" is neither true nor false`, "give it as 1 or 0");
}

function epochSeconds(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw usage(`SOURCE_DATE_EPOCH "${text}" is not a time`, "give it in whole seconds since 1970");
}

/** A directory here, a tar here, or an address. @throws AegisError CONTEXT_MISSING, GIT_ADDRESS */
function contextSource(word: string): ContextSource {
  const local = path.resolve(word);
  const stat = statSync(local, { throwIfNoEntry: false });
  if (stat?.isDirectory()) return { type: "directory", path: local };
  if (stat?.isFile()) return { type: "archive", name: word, open: () => createReadStream(local) };
  const address = parseGitAddress(word);
  if (address) return { type: "git", address };
  if (isRemoteFile(word)) return { type: "remote", url: word };
  throw new AegisError("CONTEXT_MISSING", stat ? `${word} is not a directory` : `there is no directory ${word}`, {
    hint: "give the directory that holds the Dockerfile and what it copies, a tar, a git repository, a web address or -",
  });
}

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

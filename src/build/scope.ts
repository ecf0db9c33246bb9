/**
 * Variables: the arguments of a build, of a stage, and the environment that both make. ARG and ENV write the same
 * environment in the order in which they come; what ends up in the image is only what ENV set.
 */
import type { Lookup } from "../dockerfile/types.js";
import type { Platform } from "../oci/types.js";

/** Usable without ARG, in no history and no cache key unless declared. */
const proxyNames = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/** Build arguments that speak to the builder and need no ARG. */
const builderArgs = new Set([
  "BUILDKIT_SYNTAX",
  "BUILDKIT_INLINE_CACHE",
  "BUILDKIT_MULTI_PLATFORM",
  "BUILDKIT_SANDBOX_HOSTNAME",
  "BUILDKIT_CACHE_MOUNT_NS",
  "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
  "BUILDKIT_DOCKERFILE_CHECK",
  "BUILDKIT_BUILD_NAME",
  "SOURCE_DATE_EPOCH",
]);

export function isProxyArg(name: string): boolean {
  return proxyNames.includes(name.toUpperCase()) && (name === name.toUpperCase() || name === name.toLowerCase());
}

export const isBuilderArg = (name: string): boolean => builderArgs.has(name) || isProxyArg(name);

/** `linux/arm64/v8` */
export const platformText = (platform: Platform): string =>
  [platform.os, platform.architecture, platform.variant].filter(Boolean).join("/");

/** The ARGs that are there without being passed: usable in FROM lines, and in stages after a bare `ARG NAME`. */
export function platformArgs(target: Platform, build: Platform, stage: string): Readonly<Record<string, string>> {
  const named = (prefix: string, platform: Platform) => ({
    [`${prefix}PLATFORM`]: platformText(platform),
    [`${prefix}OS`]: platform.os,
    [`${prefix}ARCH`]: platform.architecture,
    [`${prefix}VARIANT`]: platform.variant ?? "",
  });
  return { ...named("TARGET", target), ...named("BUILD", build), TARGETSTAGE: stage };
}

/** Looks a name up in plain records, the first one that has it wins. */
export function lookupIn(...records: readonly Readonly<Record<string, string>>[]): Lookup {
  return (name) => {
    for (const record of records) if (Object.hasOwn(record, name)) return record[name];
    return undefined;
  };
}

/** One stage's variables while its instructions are gone through. */
export class Scope {
  readonly #environment: Map<string, string>;
  /** Declared ARGs in order; a name that is declared again keeps its place. */
  readonly #declared: Map<string, string | undefined>;

  private constructor(environment: Map<string, string>, declared: Map<string, string | undefined>) {
    this.#environment = environment;
    this.#declared = declared;
  }

  static empty(): Scope {
    return new Scope(new Map(), new Map());
  }

  /** The scope of a stage built from this one, whose image has `env`. */
  inherit(env: readonly string[]): Scope {
    const scope = new Scope(new Map(this.#environment), new Map(this.#declared));
    for (const pair of env) scope.setEnv(nameOf(pair), pair.slice(nameOf(pair).length + 1));
    return scope;
  }

  readonly lookup: Lookup = (name) => this.#environment.get(name);

  setEnv(name: string, value: string): void {
    this.#environment.set(name, value);
  }

  declareArg(name: string, value: string | undefined): void {
    this.#declared.set(name, value ?? this.#declared.get(name));
    if (value !== undefined) this.#environment.set(name, value);
  }

  /** `NAME=value` of everything a RUN sees. */
  environment(): readonly string[] {
    return [...this.#environment].map(([name, value]) => `${name}=${value}`);
  }

  /** The `|2 A=1 B=2` that history puts before a RUN's words. */
  argsForHistory(): readonly string[] {
    const pairs = [...this.#declared].map(([name, value]) => `${name}=${this.#environment.get(name) ?? value ?? ""}`);
    return pairs.length === 0 ? [] : [`|${pairs.length}`, ...pairs];
  }

  declares(name: string): boolean {
    return this.#declared.has(name);
  }
}

const nameOf = (pair: string): string => {
  const equals = pair.indexOf("=");
  return equals < 0 ? pair : pair.slice(0, equals);
};

/** Sets variables in an image's `Env`; one that is there keeps its place. */
export function withEnv(
  env: readonly string[],
  pairs: readonly { readonly key: string; readonly value: string }[],
): readonly string[] {
  const lines = new Map(env.map((line) => [nameOf(line), line]));
  for (const { key, value } of pairs) lines.set(key, `${key}=${value}`);
  return [...lines.values()];
}

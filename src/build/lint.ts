/** The rules of `--check` as a build meets them: with its arguments, its base images and its .dockerignore. */
import { createIgnoreMatcher } from "../dockerfile/dockerignore.js";
import { type BaseImage, type LintReport, lintDockerfile } from "../dockerfile/lint/lint.js";
import type { Stage } from "../dockerfile/types.js";
import { formatPlatform, hostPlatform, isServedBy, parsePlatform } from "../oci/platforms.js";
import type { ImageStore } from "../oci/store.js";
import type { Platform, StoredImage } from "../oci/types.js";
import { AegisError } from "../support/errors.js";
import { ignorePatterns } from "./context/ignore.js";
import { namedContext } from "./context/named.js";
import type { Material } from "./export/provenance.js";
import type { Plan } from "./plan.js";
import { platformArgs } from "./scope.js";
import type { BuildRequest } from "./types.js";

/** Base images by what FROM says of them. */
export class BaseImages {
  readonly #known = new Map<string, BaseImage>();
  readonly #materials = new Map<string, Material>();

  constructor(readonly platform: Platform) {}

  /** What provenance says of them. */
  get materials(): readonly Material[] {
    return [...this.#materials.values()];
  }

  add(image: string, wanted: Platform, found: Pick<StoredImage, "config" | "target">): void {
    this.#materials.set(this.#key(image, wanted), { reference: image, platform: wanted, digest: found.target.digest });
    const { config, architecture, os, variant } = found.config;
    const actual: Platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
    this.#known.set(this.#key(image, wanted), {
      env: config?.Env ?? [],
      ...(config?.Shell ? { shell: config.Shell } : {}),
      ...(config?.OnBuild ? { onBuild: config.OnBuild } : {}),
      ...(isServedBy(wanted, actual)
        ? {}
        : { mismatch: { actual: formatPlatform(actual), wanted: formatPlatform(wanted) } }),
    });
  }

  find({ image, platform }: { readonly image: string; readonly platform?: string }): BaseImage | undefined {
    return this.#known.get(this.#key(image, platform === undefined ? this.platform : parsePlatform(platform)));
  }

  #key(image: string, platform: Platform): string {
    return `${formatPlatform(platform)} ${image}`;
  }
}

/** The base images of all stages that are in the store; rules about the others stay silent. */
export async function storedBases(plan: Plan, request: BuildRequest, store: ImageStore): Promise<BaseImages> {
  const bases = new BaseImages(request.platform);
  for (const stage of plan.dockerfile.stages) {
    const from = tolerant(() => plan.imageOf(stage));
    if (from === undefined || from.image === "scratch") continue;
    const named = namedContext(request, from.image);
    if (named && named.type !== "image") continue;
    const reference = named?.reference ?? from.image;
    const platform = tolerant(() => (from.platform === undefined ? request.platform : parsePlatform(from.platform)));
    const found = platform && (await store.resolve(reference, { platform, pin: false }).catch(() => undefined));
    if (found) bases.add(from.image, platform, found);
  }
  return bases;
}

/** What is wrong with a FROM is for the rules to tell, or for the build. */
export function tolerant<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch {
    return undefined;
  }
}

export interface LintSurroundings {
  readonly request: BuildRequest;
  readonly bases: BaseImages;
  /** Absolute path of the Dockerfile, if it is a file. */
  readonly dockerfilePath: string | undefined;
  /** Stages that are built; all when undefined. */
  readonly built?: readonly Stage[] | undefined;
}

/** @throws AegisError and Fault as `lintDockerfile` */
export async function lintPlan(plan: Plan, at: LintSurroundings): Promise<LintReport> {
  const { request, bases, built } = at;
  const check = request.buildArgs.BUILDKIT_DOCKERFILE_CHECK ?? plan.dockerfile.directives.check;
  return lintDockerfile(plan.dockerfile, {
    buildArgs: request.buildArgs,
    platformArgs: platformArgs(request.platform, hostPlatform(), plan.target.name ?? "default"),
    baseImage: (from) => bases.find(from),
    ...(check === undefined ? {} : { check }),
    ...(built === undefined ? {} : { isBuilt: (stage: Stage) => built.includes(stage) }),
    ...(await ignoreRule(check, at)),
  });
}

/** The file is read only for the rule that asks, which is off by itself. */
async function ignoreRule(
  check: string | undefined,
  { request, dockerfilePath }: LintSurroundings,
): Promise<{ readonly isIgnored?: (path: string) => boolean }> {
  if (request.context?.type !== "directory" || !check?.includes("experimental")) return {};
  const patterns = await ignorePatterns(request.context.path, dockerfilePath);
  return patterns.length === 0 ? {} : { isIgnored: createIgnoreMatcher(patterns).ignores };
}

export function checkFailed(file: string, warnings: LintReport["warnings"]): AegisError {
  const rules = [...new Set(warnings.map(({ rule }) => rule))].join(", ");
  return new AegisError("CHECK_FAILED", `lint violation found for rules: ${rules}`, {
    exitCode: 1,
    hint: `mend ${file}, or leave a rule out: # check=skip=RuleName;error=true`,
    context: warnings.map(({ range, rule, message }) => `  ${range.startLine}: ${rule}: ${message}`).join("\n"),
    details: { rules: [...new Set(warnings.map(({ rule }) => rule))] },
  });
}

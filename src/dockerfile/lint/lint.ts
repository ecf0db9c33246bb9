/** `build --check`: the reference's rules by their names, with its messages. */
import { expandFrom, expandInstruction } from "../expand.js";
import { parseOnbuild } from "../parser.js";
import { baseStage } from "../stages.js";
import type { Dockerfile, LintWarning, Stage } from "../types.js";
import { checkCasing, checkDuplicateNames } from "./casing.js";
import { checkFrom } from "./from.js";
import { isEnabled, parseCheckOptions } from "./options.js";
import { checkStage, type StageState } from "./stage.js";

export interface LintOptions {
  readonly buildArgs?: Readonly<Record<string, string>>;
  /** Platform arguments (`TARGETOS`, ...) with their values. */
  readonly platformArgs?: Readonly<Record<string, string>>;
  /** What is known of a base image: `NAME=value` of its environment and so on; undefined when it is not at hand. */
  readonly baseImage?: (image: string) => BaseImage | undefined;
  /** Whether .dockerignore leaves out a path of the context. */
  readonly isIgnored?: (path: string) => boolean;
  /** Replaces the file's `# check=` directive (BUILDKIT_DOCKERFILE_CHECK). */
  readonly check?: string;
}

export interface BaseImage {
  readonly env: readonly string[];
  readonly shell?: readonly string[];
  readonly onBuild?: readonly string[];
}

export interface LintReport {
  /** Sorted by line. */
  readonly warnings: readonly LintWarning[];
  /** The directive asks for warnings to fail the build, and there are some. */
  readonly failed: boolean;
}

const linux: Readonly<Record<string, string>> = Object.fromEntries(
  ["TARGET", "BUILD"].flatMap((prefix) => [
    [`${prefix}PLATFORM`, "linux/amd64"],
    [`${prefix}OS`, "linux"],
    [`${prefix}ARCH`, "amd64"],
    [`${prefix}VARIANT`, ""],
  ]),
);
const defaultPath = ["PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] as const;

/**
 * All warnings about a file, of stages that no target needs too. Where a base image is not known, rules that depend on its
 * environment stay silent.
 * @throws AegisError what expanding the file's words throws
 */
export function lintDockerfile(dockerfile: Dockerfile, options: LintOptions = {}): LintReport {
  const check = parseCheckOptions(options.check ?? dockerfile.directives.check);
  const platform = Object.entries(options.platformArgs ?? linux);
  const buildArgs = new Map(Object.entries(options.buildArgs ?? {}));
  const globals = globalScope(dockerfile, platform, buildArgs);
  const from = {
    globals,
    defaults: globalScope(dockerfile, platform, new Map()),
    declared: new Set(dockerfile.globalArgs.flatMap((instruction) => instruction.args.map(({ name }) => name))),
    escape: dockerfile.escape,
  };
  const warnings = [...dockerfile.warnings, ...checkCasing(dockerfile), ...checkDuplicateNames(dockerfile)];
  const states = new Map<Stage, StageState>();
  for (const stage of dockerfile.stages) {
    warnings.push(...checkFrom(stage, from));
    const base = stateBelow(dockerfile, stage, globals, states, options);
    const fired = base.triggers.map((expression) =>
      parseOnbuild(expression, stage.range, (rule, message) => warnings.push({ rule, message, range: stage.range })),
    );
    const scope = { dockerfile, globals, buildArgs, isIgnored: options.isIgnored };
    const result = checkStage([...fired, ...stage.instructions], base, scope);
    states.set(stage, result.state);
    warnings.push(...result.warnings);
  }
  const shown = warnings.filter((warning) => isEnabled(warning, check));
  shown.sort((a, b) => a.range.startLine - b.range.startLine);
  return { warnings: shown, failed: check.error && shown.length > 0 };
}

function globalScope(
  dockerfile: Dockerfile,
  platform: readonly (readonly [string, string])[],
  buildArgs: ReadonlyMap<string, string>,
): Map<string, string> {
  const scope = new Map([...platform, ["TARGETSTAGE", dockerfile.stages.at(-1)?.name ?? "default"]]);
  for (const instruction of dockerfile.globalArgs) {
    for (const arg of instruction.args) {
      const one = expandInstruction({ ...instruction, args: [arg] }, (name) => scope.get(name), dockerfile);
      const value = buildArgs.get(arg.name) ?? (one.kind === "ARG" ? one.args[0]?.value : undefined);
      if (value !== undefined) scope.set(arg.name, value);
    }
  }
  return scope;
}

/** What a stage starts with: the stage it is built from, a known image, or nothing known. */
function stateBelow(
  dockerfile: Dockerfile,
  stage: Stage,
  globals: ReadonlyMap<string, string>,
  states: ReadonlyMap<Stage, StageState>,
  options: LintOptions,
): StageState {
  const fresh = { declared: new Set<string>(), hasShell: false, hasWorkdir: false, triggers: [] };
  const { image } = tryExpand(dockerfile, stage, globals);
  const base = image === undefined ? undefined : baseStage(dockerfile, stage, image);
  if (base !== undefined) return states.get(base)!;
  if (image === "scratch") return { ...fresh, variables: new Map([defaultPath]) };
  const known = image === undefined ? undefined : options.baseImage?.(image);
  if (known === undefined) return { ...fresh, variables: undefined };
  const pairs = known.env.map((pair) => [pair.split("=", 1)[0]!, pair.slice(pair.indexOf("=") + 1)] as const);
  return {
    ...fresh,
    variables: new Map([defaultPath, ...pairs]),
    hasShell: (known.shell?.length ?? 0) > 0,
    triggers: known.onBuild ?? [],
  };
}

/** A FROM that names nothing is the build's error; here its stage only has an unknown base. */
function tryExpand(
  dockerfile: Dockerfile,
  stage: Stage,
  globals: ReadonlyMap<string, string>,
): { readonly image?: string } {
  try {
    return expandFrom(stage, (name) => globals.get(name), dockerfile);
  } catch {
    return {};
  }
}

/** `build --check`: the reference's rules by their names, with its messages. */
import { AegisError } from "../../support/errors.js";
import { expandFrom, expandInstruction } from "../expand.js";
import { parseOnbuild } from "../parser.js";
import { baseStage } from "../stages.js";
import type { Dockerfile, LintWarning, Stage } from "../types.js";
import { checkCasing, checkDuplicateNames } from "./casing.js";
import { checkFrom } from "./from.js";
import { isEnabled, parseCheckOptions } from "./options.js";
import { StageCheck, type StageState } from "./stage.js";

export interface LintOptions {
  readonly buildArgs?: Readonly<Record<string, string>>;
  /** Platform arguments (`TARGETOS`, ...) with their values. */
  readonly platformArgs?: Readonly<Record<string, string>>;
  /** What is known of a base image, by the expanded words of its FROM; undefined when it is not at hand. */
  readonly baseImage?: (from: { readonly image: string; readonly platform?: string }) => BaseImage | undefined;
  /** Whether the stage is built: of one that isn't only what its words say by themselves is told. All are unless told. */
  readonly isBuilt?: (stage: Stage) => boolean;
  /** Whether .dockerignore leaves out a path of the context. */
  readonly isIgnored?: (path: string) => boolean;
  /** Replaces the file's `# check=` directive (BUILDKIT_DOCKERFILE_CHECK). */
  readonly check?: string;
}

export interface BaseImage {
  /** `os/architecture[/variant]` of the image and of what was asked for, when they differ. */
  readonly mismatch?: { readonly actual: string; readonly wanted: string };
  readonly env: readonly string[];
  readonly shell?: readonly string[];
  readonly onBuild?: readonly string[];
}

export interface LintReport {
  /** Sorted by line. */
  readonly warnings: readonly LintWarning[];
  /** The directive asks for warnings to fail the build, and there are some. */
  readonly failed: boolean;
  /** What kept the rest of the file from being looked at: a word that can't be expanded. */
  readonly error?: AegisError;
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
 * @throws AegisError for ARGs before the first FROM that can't be expanded, and Fault for bad check options
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
  const error = caught(() => {
    const states = new Map<Stage, StageState>();
    for (const stage of dockerfile.stages) {
      warnings.push(...checkFrom(stage, from));
      if (options.isBuilt?.(stage) === false) continue;
      const known = knownBase(dockerfile, stage, globals, options);
      if (known?.mismatch) warnings.push(wrongPlatform(known.image, known.mismatch, stage));
      const base = stateBelow(dockerfile, stage, globals, states, known);
      const fired = base.triggers.map((expression) =>
        parseOnbuild(expression, stage.range, (rule, message) => warnings.push({ rule, message, range: stage.range })),
      );
      const scope = { dockerfile, globals, buildArgs, isIgnored: options.isIgnored };
      const check = new StageCheck(base, scope);
      try {
        for (const instruction of [...fired, ...stage.instructions]) check.visit(instruction);
      } finally {
        warnings.push(...check.warnings);
      }
      states.set(stage, check.state);
    }
  });
  const shown = warnings.filter((warning) => isEnabled(warning, check) && !isUnbuilt(warning, dockerfile, options));
  shown.sort((a, b) => a.range.startLine - b.range.startLine);
  return { warnings: shown, failed: check.error && shown.length > 0, ...(error === undefined ? {} : { error }) };
}

function caught(body: () => void): AegisError | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    if (error instanceof AegisError) return error;
    throw error;
  }
}

function wrongPlatform(
  image: string,
  { actual, wanted }: NonNullable<BaseImage["mismatch"]>,
  stage: Stage,
): LintWarning {
  const message = `Base image ${image} was pulled with platform "${actual}", expected "${wanted}" for current build`;
  return { rule: "InvalidBaseImagePlatform", message, range: stage.range };
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

/** The reader sees old-style pairs as it goes; of a stage that is not built they are of no interest. */
function isUnbuilt({ rule, range }: LintWarning, dockerfile: Dockerfile, { isBuilt }: LintOptions): boolean {
  if (rule !== "LegacyKeyValueFormat" || isBuilt === undefined) return false;
  const stage = dockerfile.stages.findLast((candidate) => candidate.range.startLine <= range.startLine);
  return stage !== undefined && !isBuilt(stage);
}

/** The image that a stage is built from, if it is one and it is at hand. */
function knownBase(
  dockerfile: Dockerfile,
  stage: Stage,
  globals: ReadonlyMap<string, string>,
  options: LintOptions,
): (BaseImage & { readonly image: string }) | undefined {
  const { image, platform } = tryExpand(dockerfile, stage, globals);
  if (image === undefined || image === "scratch" || baseStage(dockerfile, stage, image)) return undefined;
  const known = options.baseImage?.({ image, ...(platform === undefined ? {} : { platform }) });
  return known && { ...known, image };
}

/** What a stage starts with: the stage it is built from, a known image, or nothing known. */
function stateBelow(
  dockerfile: Dockerfile,
  stage: Stage,
  globals: ReadonlyMap<string, string>,
  states: ReadonlyMap<Stage, StageState>,
  known: BaseImage | undefined,
): StageState {
  const fresh = { declared: new Set<string>(), hasShell: false, hasWorkdir: false, triggers: [] };
  const { image } = tryExpand(dockerfile, stage, globals);
  const base = image === undefined ? undefined : baseStage(dockerfile, stage, image);
  if (base !== undefined) return states.get(base)!;
  if (image === "scratch") return { ...fresh, variables: new Map([defaultPath]) };
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
): { readonly image?: string; readonly platform?: string } {
  try {
    return expandFrom(stage, (name) => globals.get(name), dockerfile);
  } catch {
    return {};
  }
}

/** What a file offers to those who build it: `--call=targets` and `--call=outline`. */
import { expandFrom, expandInstruction } from "./expand.js";
import { lexWord } from "./shell-lexer.js";
import { baseStage, copiedStages, targetStage } from "./stages.js";
import type { Dockerfile, InstructionOf, Lookup, RunMount, SourceRange, Stage } from "./types.js";

export interface TargetSummary {
  readonly name?: string;
  /** The stage that is built when none is named. */
  readonly isDefault: boolean;
  readonly description?: string;
  /** Raw word of FROM. */
  readonly base: string;
  readonly platform?: string;
  readonly range: SourceRange;
}

export const listTargets = (dockerfile: Dockerfile): readonly TargetSummary[] =>
  dockerfile.stages.map(({ name, description, image, platform, range }, i) => ({
    ...(name === undefined ? {} : { name }),
    isDefault: i === dockerfile.stages.length - 1,
    ...(description === undefined ? {} : { description }),
    base: image,
    ...(platform === undefined ? {} : { platform }),
    range,
  }));

export interface OutlinedArg {
  readonly name: string;
  readonly value?: string;
  readonly description?: string;
  readonly range: SourceRange;
}

export interface OutlinedMount {
  readonly name: string;
  readonly required: boolean;
  readonly range: SourceRange;
}

export interface Outline {
  readonly name?: string;
  readonly description?: string;
  /** By their place in the file, each name once. */
  readonly args: readonly OutlinedArg[];
  readonly secrets: readonly OutlinedMount[];
  readonly ssh: readonly OutlinedMount[];
}

export interface OutlineOptions {
  readonly target?: string | undefined;
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Platform arguments (`TARGETOS`, ...) with their values; they are no parameters. */
  readonly platformArgs: Readonly<Record<string, string>>;
}

/**
 * The parameters of a target: those of the stages it is made of, the nearest first where a name is used by several.
 * @throws AegisError DOCKERFILE_TARGET, DOCKERFILE_EMPTY, DOCKERFILE_EXPANSION
 */
export function outlineTarget(dockerfile: Dockerfile, options: OutlineOptions): Outline {
  const target = targetStage(dockerfile, options.target);
  const outliner = new Outliner(dockerfile, options);
  outliner.visit(target);
  const ordered = <T extends { readonly range: SourceRange }>(found: ReadonlyMap<string, T>): readonly T[] =>
    [...found.values()].sort((a, b) => a.range.startLine - b.range.startLine);
  return {
    ...(target.name === undefined ? {} : { name: target.name }),
    ...(target.description === undefined ? {} : { description: target.description }),
    args: ordered(outliner.args),
    secrets: ordered(outliner.secrets),
    ssh: ordered(outliner.ssh),
  };
}

interface Parameters {
  readonly args: Map<string, OutlinedArg>;
  readonly secrets: Map<string, OutlinedMount>;
  readonly ssh: Map<string, OutlinedMount>;
}

interface Survey {
  readonly own: Parameters;
  /** Variables that are set when the stage ends. */
  readonly variables: ReadonlyMap<string, string>;
  readonly base: Stage | undefined;
}

class Outliner implements Parameters {
  readonly args = new Map<string, OutlinedArg>();
  readonly secrets = new Map<string, OutlinedMount>();
  readonly ssh = new Map<string, OutlinedMount>();
  readonly #globals = new Map<string, OutlinedArg>();
  readonly #surveys = new Map<Stage, Survey>();
  readonly #visited = new Set<Stage>();

  constructor(
    readonly dockerfile: Dockerfile,
    readonly options: OutlineOptions,
  ) {
    const lookup: Lookup = (name) => this.#globals.get(name)?.value ?? options.platformArgs[name];
    for (const instruction of dockerfile.globalArgs) {
      for (const arg of instruction.args) {
        const expanded = expandInstruction({ ...instruction, args: [arg] }, lookup, dockerfile);
        const value = options.buildArgs[arg.name] ?? (expanded.kind === "ARG" ? expanded.args[0]?.value : undefined);
        this.#globals.set(arg.name, outlined(arg.name, value, arg.description, instruction.range));
      }
    }
  }

  /** Takes the parameters of a stage, then those of the stages below and beside it. */
  visit(stage: Stage): void {
    if (this.#visited.has(stage)) return;
    this.#visited.add(stage);
    const { own, base } = this.#survey(stage);
    for (const [name, arg] of own.args) if (!this.args.has(name)) this.args.set(name, arg);
    for (const kind of ["secrets", "ssh"] as const) {
      for (const [name, mount] of own[kind]) if (!this[kind].has(name)) this[kind].set(name, mount);
    }
    this.#usedInFrom(stage);
    if (base !== undefined) this.visit(base);
    for (const { stage: from } of copiedStages(this.dockerfile, stage)) this.visit(from);
  }

  #survey(stage: Stage): Survey {
    const known = this.#surveys.get(stage);
    if (known) return known;
    const { dockerfile } = this;
    const base = baseStage(dockerfile, stage, this.#baseOf(stage));
    const own: Parameters = { args: new Map(), secrets: new Map(), ssh: new Map() };
    const variables = new Map(base === undefined ? [] : this.#survey(base).variables);
    for (const instruction of stage.instructions) {
      if (instruction.kind === "ARG") {
        for (const arg of instruction.args) this.#arg({ ...instruction, args: [arg] }, variables, own);
        continue;
      }
      const expanded = expandInstruction(instruction, (name) => variables.get(name), dockerfile);
      if (expanded.kind === "ENV") for (const { key, value } of expanded.pairs) variables.set(key, value);
      if (expanded.kind === "RUN") for (const mount of expanded.mounts) addMount(mount, expanded.range, own);
    }
    const survey = { own, variables, base };
    this.#surveys.set(stage, survey);
    return survey;
  }

  #baseOf(stage: Stage): string {
    const lookup: Lookup = (name) => this.#globals.get(name)?.value ?? this.options.platformArgs[name];
    return expandFrom(stage, lookup, this.dockerfile).image;
  }

  #arg(raw: InstructionOf<"ARG">, variables: Map<string, string>, own: Parameters): void {
    const { name, description } = raw.args[0]!;
    const expanded = expandInstruction(raw, (it) => variables.get(it), this.dockerfile);
    const written = expanded.kind === "ARG" ? expanded.args[0]?.value : undefined;
    const global = written === undefined ? this.#globals.get(name) : undefined;
    const value = this.options.buildArgs[name] ?? written ?? global?.value ?? this.options.platformArgs[name];
    if (value !== undefined) variables.set(name, value);
    if (Object.hasOwn(this.options.platformArgs, name)) return;
    const range = global?.value === undefined || Object.hasOwn(this.options.buildArgs, name) ? raw.range : global.range;
    own.args.set(name, outlined(name, value, description ?? global?.description, range));
  }

  #usedInFrom(stage: Stage): void {
    const onVariable = (name: string) => {
      const global = this.#globals.get(name);
      if (global && !this.args.has(name)) this.args.set(name, global);
    };
    for (const word of [stage.image, stage.platform ?? ""]) {
      lexWord(word, (name) => this.#globals.get(name)?.value, { escape: this.dockerfile.escape, onVariable });
    }
  }
}

function addMount(mount: RunMount, range: SourceRange, own: Parameters): void {
  if (mount.type !== "secret" && mount.type !== "ssh") return;
  const fallback = mount.type === "ssh" ? "default" : mount.target?.split("/").pop();
  const name = mount.id ?? fallback ?? "";
  const among = mount.type === "ssh" ? own.ssh : own.secrets;
  const before = among.get(name);
  if (before === undefined || !before.required) among.set(name, { name, required: mount.required, range });
}

const outlined = (
  name: string,
  value: string | undefined,
  description: string | undefined,
  range: SourceRange,
): OutlinedArg => ({
  name,
  // An empty value is told like none.
  ...(value ? { value } : {}),
  ...(description === undefined ? {} : { description }),
  range,
});

/**
 * Goes through one stage's instructions: expands each in the scope it has reached, applies what only changes the config, and
 * hands what makes a layer to the solver.
 */
import { Fault } from "../dockerfile/errors.js";
import { expandInstruction } from "../dockerfile/expand.js";
import { parseOnbuild } from "../dockerfile/parser.js";
import { lexWord } from "../dockerfile/shell-lexer.js";
import type { ArgDefinition, Dockerfile, Instruction, InstructionOf, Lookup, Stage } from "../dockerfile/types.js";
import { AegisError } from "../support/errors.js";
import { type ImageDraft, withConfig, withLayer } from "./draft.js";
import type { BuildEnvironment } from "./environment.js";
import type { StepHandle } from "./progress.js";
import type { RootStack } from "./roots.js";
import type { Scope } from "./scope.js";
import { solve } from "./solver.js";
import { copyLayerStep, runLayerStep, type StageInputs, type StepScope } from "./stage-steps.js";
import { configChange } from "./steps/config.js";
import type { LayerStep } from "./steps/step.js";
import { joinWorkdir, workdirStep } from "./steps/workdir.js";

const maxConfigText = 4 << 20;

export interface BuiltStage {
  readonly draft: ImageDraft;
  readonly roots: RootStack;
  readonly scope: Scope;
  /** Entries of history that came with the base image. */
  readonly inherited: number;
}

export interface StagePlan {
  readonly dockerfile: Dockerfile;
  readonly stage: Stage;
  /** How messages and `[name 2/5]` call it. */
  readonly label: string;
  readonly base: BuiltStage;
  /** Values of `--build-arg` and of the platform, by name. */
  readonly buildArgs: Readonly<Record<string, string>>;
  /** ARGs before the first FROM, and the platform's. */
  readonly globalArgs: Readonly<Record<string, string>>;
  readonly inputs: StageInputs;
  /** Steps that come before the first instruction: 1 when the base is an image. */
  readonly leadingSteps: number;
  readonly noCache: boolean;
}

/** Builds a stage on top of its base. */
export async function buildStage(plan: StagePlan, environment: BuildEnvironment): Promise<BuiltStage> {
  const { base } = plan;
  const triggers = (base.draft.config.OnBuild ?? []).map((text) => parseOnbuild(text, plan.stage.range));
  const { OnBuild: _fired, ...config } = base.draft.config;
  const builder = new StageBuilder(plan, environment, { ...base.draft, config });
  const instructions = [...triggers, ...plan.stage.instructions];
  builder.total = plan.leadingSteps + instructions.filter(makesLayer).length;
  for (const [i, instruction] of instructions.entries()) await builder.apply(instruction, i < triggers.length);
  return { draft: builder.draft, roots: builder.roots, scope: builder.scope, inherited: base.inherited };
}

const makesLayer = (instruction: Instruction): boolean =>
  instruction.kind === "RUN" ||
  instruction.kind === "COPY" ||
  instruction.kind === "ADD" ||
  instruction.kind === "WORKDIR";

class StageBuilder {
  readonly roots: RootStack;
  readonly scope: Scope;
  total = 0;
  #done: number;
  #cmdSetHere = false;
  #written = 0;

  constructor(
    readonly plan: StagePlan,
    readonly environment: BuildEnvironment,
    public draft: ImageDraft,
  ) {
    this.roots = plan.base.roots.fork();
    this.scope = plan.base.scope.inherit(draft.config.Env ?? []);
    this.#done = plan.leadingSteps;
  }

  async apply(raw: Instruction, trigger: boolean): Promise<void> {
    const { dockerfile } = this.plan;
    if (raw.kind === "ARG") return this.#arg(raw);
    const instruction = expandInstruction(raw, this.scope.lookup, { escape: dockerfile.escape, file: dockerfile.file });
    const shown = trigger ? `ONBUILD ${instruction.source}` : instruction.source;
    await this.#dependencies(instruction);
    switch (instruction.kind) {
      case "WORKDIR":
        return await this.#workdir(instruction, shown);
      case "RUN":
        return await this.#layer(shown, (progress) => runLayerStep(instruction, this.#view(), progress));
      case "COPY":
        return await this.#layer(shown, () => copyLayerStep(instruction, this.#view()));
      case "ADD":
        return await this.#layer(shown, () => copyLayerStep(instruction, this.#view()));
      default:
        return this.#config(instruction);
    }
  }

  /** A step begins when the stages and images that it takes from are there. */
  async #dependencies(instruction: Instruction): Promise<void> {
    const { inputs } = this.plan;
    if (instruction.kind === "COPY" && instruction.from !== undefined) {
      await inputs.from(instruction.from, { numbers: true });
    }
    if (instruction.kind !== "RUN") return;
    for (const { from } of instruction.mounts) if (from !== undefined) await inputs.from(from, { numbers: false });
  }

  /** What the steps of this stage may look at. */
  #view(): StepScope {
    const { plan, environment, draft, roots, scope } = this;
    const { dockerfile, buildArgs, inputs } = plan;
    const { config, platform, programs = platform } = draft;
    return { dockerfile, buildArgs, inputs, environment, config, platform, programs, roots, scope };
  }

  #epochTime(): string | undefined {
    return epochTime(this.environment.request.epoch);
  }

  #config(instruction: Instruction): void {
    const result = configChange(instruction, this.draft, this.#cmdSetHere);
    if (!result) return;
    this.#account(result.createdBy ?? instruction.source);
    if (instruction.kind === "CMD") this.#cmdSetHere = true;
    if (instruction.kind === "ENV") for (const { key, value } of instruction.pairs) this.scope.setEnv(key, value);
    if (result.author !== undefined) this.draft = { ...this.draft, author: result.author };
    this.draft =
      result.createdBy === undefined
        ? { ...this.draft, config: { ...this.draft.config, ...result.change } }
        : withConfig(this.draft, result.change, result.createdBy, this.#epochTime());
  }

  #arg(raw: InstructionOf<"ARG">): void {
    const shown: string[] = [];
    for (const arg of raw.args) {
      const value = this.#argValue(raw, arg);
      this.scope.declareArg(arg.name, value);
      shown.push(value === undefined ? arg.name : `${arg.name}=${value}`);
    }
    this.#account(shown.join(" "));
    this.draft = withConfig(this.draft, {}, `ARG ${shown.join(" ")}`, this.#epochTime());
  }

  /** What instructions expand to is in history and in the config: no registry takes one of any size. */
  #account(text: string): void {
    this.#written += text.length;
    if (this.#written <= maxConfigText) return;
    throw new AegisError("IMAGE_CONFIG_TOO_LARGE", "the values of ENV, ARG, LABEL and the like are larger than 4 MiB", {
      hint: "variables that contain themselves double with every line; put large data in a file",
    });
  }

  /** `--build-arg` wins over the default, which wins over the value before the first FROM. */
  #argValue(raw: InstructionOf<"ARG">, arg: ArgDefinition): string | undefined {
    const { dockerfile, buildArgs, globalArgs } = this.plan;
    const { name } = arg;
    if (Object.hasOwn(buildArgs, name)) return buildArgs[name];
    if (arg.value === undefined) return Object.hasOwn(globalArgs, name) ? globalArgs[name] : undefined;
    const single = { ...raw, args: [arg] };
    const expanded = expandInstruction(single, this.scope.lookup, { escape: dockerfile.escape, file: dockerfile.file });
    return expanded.kind === "ARG" ? expanded.args[0]?.value : undefined;
  }

  async #workdir(instruction: InstructionOf<"WORKDIR">, shown: string): Promise<void> {
    // An absolute path is recorded as it is written, the reference cleans it only where it is used.
    const { path: written } = instruction;
    const path = written.startsWith("/") ? written : joinWorkdir(this.draft.config.WorkingDir || "/", written);
    this.draft = { ...this.draft, config: { ...this.draft.config, WorkingDir: path } };
    if (path === "/") {
      this.draft = withConfig(this.draft, {}, `WORKDIR ${path}`, this.#epochTime());
      return;
    }
    const { epoch } = this.environment.request;
    const user = this.draft.config.User ?? "";
    await this.#layer(shown, () =>
      Promise.resolve(workdirStep({ path, user, now: nowSeconds(epoch), epoch }, this.roots)),
    );
  }

  async #layer(shown: string, make: (progress: () => StepHandle) => Promise<LayerStep>): Promise<void> {
    const title = this.#title(++this.#done, shown);
    const solved = await solve(title, make, this.environment, {
      noCache: this.plan.noCache,
      below: this.roots.layers,
    });
    this.roots.push(solved.layer, solved.fresh);
    const { createdBy, calledAs = this.#referenceTitle(shown) } = solved.step;
    const when = this.#epochTime() ?? solved.created;
    this.draft = withLayer(this.draft, solved.layer, { createdBy, calledAs, when });
  }

  #title(number: number, shown: string): string {
    return `[${this.plan.label}${String(number).padStart(String(this.total).length)}/${this.total}] ${shown}`;
  }

  /** The reference shows variables' values, and a context that a stage is built on has no number there. */
  #referenceTitle(shown: string): string {
    return this.#title(
      this.#done - this.plan.leadingSteps,
      shownValues(shown, this.scope.lookup, this.plan.dockerfile),
    );
  }
}

function shownValues(text: string, lookup: Lookup, dockerfile: Dockerfile): string {
  try {
    return lexWord(text, lookup, dockerfile);
  } catch (error) {
    if (error instanceof Fault) return text;
    throw error;
  }
}

/** SOURCE_DATE_EPOCH as RFC 3339, without the fraction that whole seconds don't have, as Go writes it. */
export const epochTime = (epoch: number | undefined): string | undefined =>
  epoch === undefined ? undefined : new Date(epoch * 1000).toISOString().replace(".000Z", "Z");

export const nowSeconds = (epoch: number | undefined): number => epoch ?? Math.floor(Date.now() / 1000);

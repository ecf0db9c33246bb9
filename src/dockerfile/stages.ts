/** Names and dependencies of stages. */
import { AegisError } from "../support/errors.js";
import { Fault, faultAt } from "./errors.js";
import { suggestion } from "./suggest.js";
import type { Dockerfile, SourceRange, Stage } from "./types.js";

/** The stage called `name` (in any case), the last of them when there are several. */
export function stageByName(dockerfile: Dockerfile, name: string): Stage | undefined {
  return dockerfile.stages.findLast((stage) => stage.name === name.toLowerCase());
}

/**
 * The stage that `COPY --from` or a mount's `from=` means: by name or, for COPY, by number; undefined when the word is the name of an image or
 * of a named context.
 * @throws AegisError DOCKERFILE_STAGE for a number that is no stage's
 */
export function resolveStageReference(
  dockerfile: Dockerfile,
  reference: string,
  options: { readonly numbers?: boolean; readonly range?: SourceRange } = {},
): Stage | undefined {
  if ((options.numbers ?? true) && /^[-+]?\d+$/.test(reference)) {
    const stage = dockerfile.stages[Number(reference)];
    if (stage !== undefined) return stage;
    const fault = new Fault(`there is no stage ${reference}`, {
      code: "DOCKERFILE_STAGE",
      hint: `stages are numbered from 0 to ${dockerfile.stages.length - 1}`,
      at: reference,
    });
    throw faultAt(dockerfile.file, options.range ?? { startLine: 1, endLine: 1 }, fault);
  }
  return stageByName(dockerfile, reference);
}

/**
 * The stage that a build ends in: the last one unless `target` names another by name.
 * @throws AegisError DOCKERFILE_TARGET, DOCKERFILE_EMPTY
 */
export function targetStage(dockerfile: Dockerfile, target?: string): Stage {
  const { stages, file } = dockerfile;
  if (target === undefined || target === "") {
    const last = stages.at(-1);
    if (last !== undefined) return last;
    throw new AegisError("DOCKERFILE_EMPTY", `${file.name} has no stage`, {
      hint: "start it with FROM and the image to build on",
    });
  }
  const found = stageByName(dockerfile, target);
  if (found !== undefined) return found;
  const names = stages.flatMap((stage) => stage.name ?? []);
  throw new AegisError("DOCKERFILE_TARGET", `target stage "${target}" could not be found in ${file.name}`, {
    hint:
      suggestion(target, names) ??
      (names.length > 0 ? `its stages are ${names.join(", ")}` : "none of its stages has a name"),
    details: { target, stages: names },
  });
}

/** The earlier stage that `image` (the expanded word of FROM) names, if it names one. */
export function baseStage(dockerfile: Dockerfile, stage: Stage, image: string): Stage | undefined {
  return dockerfile.stages.slice(0, stage.index).findLast((candidate) => candidate.name === image);
}

/** Where a stage takes something from: its base, a COPY --from or a mount's from=. */
export interface StageDependency {
  readonly stage: Stage;
  readonly range: SourceRange;
}

/** Stages that `stage` copies or mounts from; words that are no stage's name (images, named contexts) are left out. */
export function copiedStages(dockerfile: Dockerfile, stage: Stage): readonly StageDependency[] {
  return stage.instructions.flatMap((instruction): readonly StageDependency[] => {
    const { range } = instruction;
    const references =
      instruction.kind === "COPY"
        ? [resolveStageReference(dockerfile, instruction.from ?? "", { range })]
        : instruction.kind === "RUN"
          ? instruction.mounts.map((mount) =>
              resolveStageReference(dockerfile, mount.from ?? "", { numbers: false, range }),
            )
          : [];
    return references.flatMap((found) => (found === undefined ? [] : [{ stage: found, range }]));
  });
}

export interface Reach {
  readonly target?: string | undefined;
  /** True for a stage that needs no other: something else takes its place. */
  readonly standsAlone?: (stage: Stage) => boolean;
}

/**
 * The stages that the target needs, in the order of the file; `imageOf` gives each stage's expanded FROM word.
 * @throws AegisError DOCKERFILE_TARGET, DOCKERFILE_STAGE for a stage that takes from itself or from a later one
 */
export function reachableStages(
  dockerfile: Dockerfile,
  imageOf: (stage: Stage) => string,
  { target, standsAlone }: Reach = {},
): readonly Stage[] {
  const reached = new Set<Stage>();
  const visit = (stage: Stage): void => {
    if (reached.has(stage)) return;
    reached.add(stage);
    if (standsAlone?.(stage)) return;
    const base = baseStage(dockerfile, stage, imageOf(stage));
    if (base !== undefined) visit(base);
    for (const dependency of copiedStages(dockerfile, stage)) visit(earlier(dockerfile, stage, dependency));
  };
  visit(targetStage(dockerfile, target));
  return dockerfile.stages.filter((stage) => reached.has(stage));
}

function earlier(dockerfile: Dockerfile, stage: Stage, dependency: StageDependency): Stage {
  if (dependency.stage.index < stage.index) return dependency.stage;
  const [name, own] = [dependency.stage, stage].map(({ name, index }) => name ?? String(index));
  const message =
    dependency.stage === stage
      ? `stage "${own}" can not take from itself`
      : `stage "${name}" is defined only after stage "${own}"`;
  const fault = new Fault(message, { code: "DOCKERFILE_STAGE", hint: "a stage takes only from stages above it" });
  throw faultAt(dockerfile.file, dependency.range, fault);
}

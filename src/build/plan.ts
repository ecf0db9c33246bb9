/** From a Dockerfile and what the command line says to what each stage starts from: values of the ARGs before the first FROM. */
import { Fault, faultAt } from "../dockerfile/errors.js";
import { expandFrom, expandInstruction } from "../dockerfile/expand.js";
import { targetStage } from "../dockerfile/stages.js";
import type { Dockerfile, Stage } from "../dockerfile/types.js";
import { hostPlatform } from "../oci/platforms.js";
import { parseReference } from "../oci/references.js";
import { AegisError } from "../support/errors.js";
import { lookupIn, platformArgs } from "./scope.js";
import type { BuildRequest } from "./types.js";

export interface Plan {
  readonly dockerfile: Dockerfile;
  readonly target: Stage;
  /** ARGs before the first FROM, and the platform's. */
  readonly globals: Readonly<Record<string, string>>;
  /** A stage's expanded FROM line. @throws AegisError DOCKERFILE_EXPANSION */
  readonly imageOf: (stage: Stage) => { readonly image: string; readonly platform?: string };
}

/** @throws AegisError DOCKERFILE_TARGET, DOCKERFILE_EMPTY, DOCKERFILE_EXPANSION, DOCKERFILE_STAGE */
export function planBuild(
  dockerfile: Dockerfile,
  request: Pick<BuildRequest, "platform" | "target" | "buildArgs">,
): Plan {
  for (const stage of dockerfile.stages) checkName(stage, dockerfile);
  const target = targetStage(dockerfile, request.target);
  const platform = platformArgs(request.platform, hostPlatform(), target.name ?? "default");
  const globals: Record<string, string> = {};
  const lookup = lookupIn(globals, platform);
  const options = { escape: dockerfile.escape, file: dockerfile.file };
  for (const instruction of dockerfile.globalArgs) {
    for (const arg of instruction.args) {
      const expanded = expandInstruction({ ...instruction, args: [arg] }, lookup, options);
      const value = request.buildArgs[arg.name] ?? (expanded.kind === "ARG" ? expanded.args[0]?.value : undefined);
      if (value !== undefined) globals[arg.name] = value;
    }
  }
  const images = new Map<Stage, { readonly image: string; readonly platform?: string }>();
  const imageOf = (stage: Stage) => {
    const known = images.get(stage);
    if (known) return known;
    const found = expandFrom(stage, lookup, options);
    images.set(stage, found);
    return found;
  };
  return { dockerfile, target, globals: { ...platform, ...globals }, imageOf };
}

/** A context may stand in for any stage, so a stage's name must be one that an image could have. */
function checkName({ name, range }: Stage, { file }: Dockerfile): void {
  if (name === undefined) return;
  try {
    parseReference(name);
  } catch (error) {
    if (!(error instanceof AegisError)) throw error;
    const hint = "let it end with a letter or a digit, and put single dots or dashes between them";
    throw faultAt(
      file,
      range,
      new Fault(`invalid name for build stage: "${name}"`, { code: "DOCKERFILE_STAGE", hint, at: name }),
    );
  }
}

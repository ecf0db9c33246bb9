/** `--call`: what a Dockerfile says, told without building anything. */
import { listTargets, type Outline, outlineTarget, type TargetSummary } from "../dockerfile/outline.js";
import { parseDockerfile } from "../dockerfile/parser.js";
import { reachableStages } from "../dockerfile/stages.js";
import type { LintWarning } from "../dockerfile/types.js";
import { hostPlatform } from "../oci/platforms.js";
import { openImageStore } from "../oci/store.js";
import type { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { findDockerfile } from "./context/dockerfile.js";
import { ContextTrees } from "./context/trees.js";
import { checkFailed, lintPlan, storedBases, tolerant } from "./lint.js";
import { planBuild } from "./plan.js";
import { Progress } from "./progress.js";
import { platformArgs } from "./scope.js";
import type { BuildRequest } from "./types.js";
import { Workspace } from "./workspace.js";

export type EvaluationMethod = "check" | "outline" | "targets";

export type Evaluation = { readonly file: EvaluatedFile } & (
  | {
      readonly method: "check";
      readonly warnings: readonly LintWarning[];
      /** Why a build would not even begin. */
      readonly failure?: AegisError | undefined;
    }
  | { readonly method: "outline"; readonly outline: Outline }
  | { readonly method: "targets"; readonly targets: readonly TargetSummary[] }
);

export interface EvaluatedFile {
  readonly name: string;
  readonly content: Uint8Array;
}

/** @throws AegisError as reading the Dockerfile does */
export async function evaluateDockerfile(
  home: AegisHome,
  request: BuildRequest,
  method: EvaluationMethod,
): Promise<Evaluation> {
  await using workspace = new Workspace(home);
  const found = await findDockerfile(
    request,
    new ContextTrees({
      home,
      request,
      progress: new Progress(() => undefined),
      temporary: (name) => workspace.temporary(name),
      closeAtEnd: (resource) => workspace.closeAtEnd(resource),
    }),
  );
  const file = { name: found.name, content: found.text };
  const dockerfile = parseDockerfile(found.text, { filename: found.name, dialect: found.dialect });
  if (method === "targets") return { method, file, targets: listTargets(dockerfile) };
  const plan = planBuild(dockerfile, request);
  if (method === "outline") {
    const { buildArgs, target } = request;
    const known = platformArgs(request.platform, hostPlatform(), plan.target.name ?? "default");
    return { method, file, outline: outlineTarget(dockerfile, { target, buildArgs, platformArgs: known }) };
  }
  const store = await openImageStore(home.images);
  try {
    const bases = await storedBases(plan, request, store);
    // A check without a target is of all stages.
    const reached = () => reachableStages(dockerfile, (stage) => plan.imageOf(stage).image, request);
    const built = request.target ? tolerant(reached) : undefined;
    const report = await lintPlan(plan, { request, bases, dockerfilePath: found.path, built });
    const failure = report.error ?? (report.failed ? checkFailed(found.name, report.warnings) : undefined);
    return { method, file, warnings: report.warnings, failure };
  } finally {
    await store.close();
  }
}

/** `FROM name` where `--build-context name=...` is a tree: a stage of one layer that holds it all. */
import type { Platform } from "../../oci/types.js";
import { scratchDraft, withContext } from "../draft.js";
import type { BuildEnvironment } from "../environment.js";
import { RootStack } from "../roots.js";
import { Scope } from "../scope.js";
import { solve } from "../solver.js";
import { type BuiltStage, epochTime, nowSeconds } from "../stage.js";
import { copyStep } from "../steps/copy.js";
import type { ContextSource } from "../types.js";
import { contextName } from "./named.js";
import type { ContextTrees } from "./trees.js";

export interface ContextBase {
  readonly context: ContextSource;
  readonly name: string;
  readonly title: string;
  readonly platform: Platform;
}

export async function contextStage(
  environment: BuildEnvironment,
  trees: ContextTrees,
  { context, name, title, platform }: ContextBase,
): Promise<BuiltStage> {
  const { epoch, noCache } = environment.request;
  const draft = scratchDraft(platform);
  const roots = RootStack.of(environment, []);
  const step = copyStep(
    {
      createdBy: title,
      items: [{ type: "path", word: "/" }],
      heredocs: [],
      destination: "/",
      chown: undefined,
      chmod: undefined,
      link: true,
      parents: false,
      exclude: [],
      source: async () => ({ open: () => trees.open(context) }),
      add: false,
      now: nowSeconds(epoch),
      epoch,
    },
    roots,
  );
  const solved = await solve(title, async () => step, environment, { noCache, below: [] });
  roots.push(solved.layer, solved.fresh);
  return {
    draft: withContext(draft, solved.layer, contextName(name), epochTime(epoch) ?? solved.created),
    roots,
    scope: Scope.empty(),
    inherited: 0,
  };
}

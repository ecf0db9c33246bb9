/** What COPY, ADD and bind mounts may read from: the context, other stages, images. */
import { resolveStageReference } from "../dockerfile/stages.js";
import type { Dockerfile, Stage } from "../dockerfile/types.js";
import { ContextDigests } from "./cache/digests.js";
import { contextFilter, ignorePatterns } from "./context/ignore.js";
import { LocalTree } from "./context/local.js";
import { draftOf } from "./draft.js";
import type { BuildEnvironment } from "./environment.js";
import { pinLayers, resolveImage } from "./images.js";
import { RootStack } from "./roots.js";
import type { BuiltStage } from "./stage.js";
import type { StageInputs } from "./stage-steps.js";
import type { CopySource } from "./steps/copy.js";
import { keyOf } from "./steps/step.js";

/** Opens trees once per build, whichever stages and steps ask. */
export class Sources {
  #context: Promise<LocalTree> | undefined;
  readonly #images = new Map<string, Promise<RootStack>>();

  constructor(
    readonly environment: BuildEnvironment,
    readonly dockerfile: Dockerfile,
    readonly dockerfilePath: string | undefined,
    readonly built: (stage: Stage) => Promise<BuiltStage>,
  ) {}

  /** For the steps of one stage. */
  for(stage: Stage): StageInputs {
    return {
      context: async () => ({ open: () => this.context() }),
      from: async (reference, { numbers }) => {
        const other = resolveStageReference(this.dockerfile, reference, { numbers, range: stage.range });
        if (other) return this.#rooted((await this.built(other)).roots);
        const image = this.#images.get(reference) ?? this.#openImage(reference);
        this.#images.set(reference, image);
        return this.#rooted(await image);
      },
    };
  }

  context(): Promise<LocalTree> {
    this.#context ??= this.#openContext();
    return this.#context;
  }

  async #openContext(): Promise<LocalTree> {
    const { home, request } = this.environment;
    const patterns = await ignorePatterns(request.context, this.dockerfilePath);
    return new LocalTree(request.context, new ContextDigests(home.cache, request.context), contextFilter(patterns));
  }

  async #openImage(reference: string): Promise<RootStack> {
    const { progress, request } = this.environment;
    const title = `FROM ${reference}`;
    const image = await progress.during(title, () => resolveImage(this.environment, reference, request.platform));
    return RootStack.of(this.environment, draftOf(image).layers);
  }

  /** A finished tree; what it holds never changes, so answers about it are kept. */
  async #rooted(roots: RootStack): Promise<CopySource> {
    const { cache } = this.environment;
    const fact = (question: string) => keyOf(["tree", roots.chainId, question]);
    return {
      open: async () => {
        await pinLayers(this.environment, roots.layers);
        return await roots.contents();
      },
      memory: {
        recall: (question) => cache.recall(fact(question)),
        remember: (question, answer) => cache.remember(fact(question), answer),
      },
    };
  }

  /** Keeps what was learned about the context's files. */
  async save(): Promise<void> {
    if (this.#context) await (await this.#context).digests.save();
  }
}

/** What COPY, ADD and bind mounts may read from: the context, other stages, images. */
import { resolveStageReference } from "../dockerfile/stages.js";
import type { Dockerfile, Stage } from "../dockerfile/types.js";
import { namedContext } from "./context/named.js";
import type { ContextTrees } from "./context/trees.js";
import { contextWords, coversDirectory, namedWords } from "./context/words.js";
import { draftOf } from "./draft.js";
import type { BuildEnvironment } from "./environment.js";
import { resolveImage } from "./images.js";
import { RootStack } from "./roots.js";
import type { BuiltStage } from "./stage.js";
import type { StageInputs } from "./stage-steps.js";
import type { CopySource } from "./steps/copy.js";
import { keyOf } from "./steps/step.js";
import type { SourceView } from "./tree/sources.js";
import { emptyView } from "./tree/view.js";
import type { ContextSource } from "./types.js";

/** Opens trees once per build, whichever stages and steps ask. */
export class Sources {
  readonly #images = new Map<string, Promise<RootStack>>();

  constructor(
    readonly environment: BuildEnvironment,
    readonly trees: ContextTrees,
    readonly dockerfile: Dockerfile,
    readonly dockerfilePath: string | undefined,
    readonly built: (stage: Stage) => Promise<BuiltStage>,
  ) {}

  /** For the steps of one stage. */
  for(stage: Stage): StageInputs {
    return {
      context: async () => this.#tree(this.environment.request.context, () => this.#context()),
      from: async (reference, { numbers }) => {
        const other = resolveStageReference(this.dockerfile, reference, { numbers, range: stage.range });
        if (other) return this.#rooted((await this.built(other)).roots);
        const named = namedContext(this.environment.request, reference);
        if (named && named.type !== "image") return this.#tree(named, () => this.trees.open(named), reference);
        const image = this.#images.get(reference) ?? this.#openImage(reference, named?.reference ?? reference);
        this.#images.set(reference, image);
        return this.#rooted(await image);
      },
      repository: (address) => this.trees.repository(address),
    };
  }

  /** Of a directory, and of nothing else, only what steps take is sent to the reference's builder. */
  #tree(source: ContextSource | undefined, open: () => Promise<SourceView>, name?: string): CopySource {
    if (source?.type !== "directory") return { open };
    return {
      open,
      covers: (view, directory) => {
        const words = name === undefined ? contextWords(this.dockerfile) : namedWords(this.dockerfile, name);
        return coversDirectory(view, words, directory);
      },
    };
  }

  /** Nothing is in it when the build has none. */
  async #context(): Promise<SourceView> {
    const { context } = this.environment.request;
    return context === undefined ? emptyView : await this.trees.open(context, this.dockerfilePath);
  }

  async #openImage(reference: string, wanted: string): Promise<RootStack> {
    const { progress, request } = this.environment;
    if (wanted === "scratch") return RootStack.of(this.environment, []);
    const title = `FROM ${reference}`;
    const image = await progress.during(title, () => resolveImage(this.environment, wanted, request.platform));
    return RootStack.of(this.environment, draftOf(image).layers);
  }

  /** A finished tree; what it holds never changes, so answers about it are kept. */
  async #rooted(roots: RootStack): Promise<CopySource> {
    const { cache, imports, used } = this.environment;
    const fact = (question: string) => keyOf(["tree", roots.chainId, question]);
    return {
      open: () => roots.contents(),
      memory: {
        async recall(question) {
          const key = fact(question);
          const answer = (await cache.recall(key)) ?? imports?.tree(key);
          if (answer !== undefined) used.trees.set(key, answer);
          return answer;
        },
        async remember(question, answer) {
          used.trees.set(fact(question), answer);
          await cache.remember(fact(question), answer);
        },
      },
    };
  }
}

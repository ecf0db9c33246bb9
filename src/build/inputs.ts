/** What COPY, ADD and bind mounts may read from: the context, other stages, images. */
import { resolveStageReference } from "../dockerfile/stages.js";
import type { Dockerfile, Stage } from "../dockerfile/types.js";
import { ContextDigests } from "./cache/digests.js";
import { contextFilter, ignorePatterns } from "./context/ignore.js";
import { LocalTree } from "./context/local.js";
import { draftOf } from "./draft.js";
import type { BuildEnvironment } from "./environment.js";
import { resolveImage } from "./images.js";
import { RootStack } from "./roots.js";
import type { BuiltStage } from "./stage.js";
import type { StageInputs } from "./stage-steps.js";
import type { CopySource } from "./steps/copy.js";
import { keyOf } from "./steps/step.js";
import { emptyView } from "./tree/view.js";

/** Opens trees once per build, whichever stages and steps ask. */
export class Sources {
  readonly #directories = new Map<string, Promise<LocalTree>>();
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
      context: async () => ({ open: async () => (await this.context()) ?? emptyView }),
      from: async (reference, { numbers }) => {
        const other = resolveStageReference(this.dockerfile, reference, { numbers, range: stage.range });
        if (other) return this.#rooted((await this.built(other)).roots);
        const named = this.environment.request.contexts[reference.toLowerCase()];
        if (named?.type === "directory") return { open: () => this.#directory(named.path) };
        const image = this.#images.get(reference) ?? this.#openImage(reference);
        this.#images.set(reference, image);
        return this.#rooted(await image);
      },
    };
  }

  /** undefined when the build has none. */
  async context(): Promise<LocalTree | undefined> {
    const { context } = this.environment.request;
    return context === undefined ? undefined : await this.#directory(context, this.dockerfilePath);
  }

  #directory(root: string, dockerfile?: string): Promise<LocalTree> {
    const known = this.#directories.get(root);
    if (known) return known;
    const tree = this.#openDirectory(root, dockerfile);
    this.#directories.set(root, tree);
    return tree;
  }

  async #openDirectory(root: string, dockerfile: string | undefined): Promise<LocalTree> {
    const patterns = await ignorePatterns(root, dockerfile);
    return new LocalTree(root, new ContextDigests(this.environment.home.cache, root), contextFilter(patterns));
  }

  async #openImage(reference: string): Promise<RootStack> {
    const { progress, request } = this.environment;
    const title = `FROM ${reference}`;
    const named = request.contexts[reference.toLowerCase()];
    const wanted = named?.type === "image" ? named.reference : reference;
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

  /** Keeps what was learned about the contexts' files. */
  async save(): Promise<void> {
    for (const tree of this.#directories.values()) await (await tree).digests.save();
  }
}

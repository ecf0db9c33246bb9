/**
 * A build from request to image: reads the Dockerfile, builds the stages that the target needs, side by side where they
 * don't depend on each other, and stores the result.
 */
import { setMaxListeners } from "node:events";
import { existsSync } from "node:fs";
import { parseDockerfile } from "../dockerfile/parser.js";
import { baseStage, reachableStages } from "../dockerfile/stages.js";
import type { Dockerfile, LintWarning, Stage } from "../dockerfile/types.js";
import { formatPlatform, parsePlatform } from "../oci/platforms.js";
import { type ImageStore, openImageStore } from "../oci/store.js";
import type { Platform } from "../oci/types.js";
import type { AegisHome } from "../support/home.js";
import type { CacheImports } from "./cache/import.js";
import { openStepCache } from "./cache/steps.js";
import { findDockerfile } from "./context/dockerfile.js";
import { namedContext } from "./context/named.js";
import { contextStage } from "./context/stage.js";
import { ContextTrees } from "./context/trees.js";
import { draftOf, scratchDraft } from "./draft.js";
import { checkEntitled } from "./entitlements.js";
import type { BuildEnvironment } from "./environment.js";
import { lazyExecutor } from "./executors/choose.js";
import type { Material } from "./export/provenance.js";
import { finishBuild } from "./image.js";
import { resolveImage } from "./images.js";
import { Sources } from "./inputs.js";
import { LayerSupply } from "./layer-supply.js";
import { BaseImages, checkFailed, type LintSurroundings, lintPlan, storedBases } from "./lint.js";
import { type Plan, planBuild } from "./plan.js";
import { Progress } from "./progress.js";
import { RootStack } from "./roots.js";
import { isBuilderArg, Scope } from "./scope.js";
import { type BuiltStage, buildStage } from "./stage.js";
import type { BuildRequest, BuildResult, NamedContext, Report } from "./types.js";
import { Workspace } from "./workspace.js";

/**
 * @throws AegisError with the codes of the rooms it uses, and RUN_FAILED, COPY_SOURCE_MISSING, DOCKERFILE_MISSING,
 *   CONTEXT_MISSING, IMAGE_NOT_FOUND
 */
export async function buildImage(home: AegisHome, request: BuildRequest, report: Report): Promise<BuildResult> {
  const store = await openImageStore(home.images);
  const started = new Date();
  const progress = new Progress(report);
  let imports: CacheImports | undefined;
  try {
    if (request.cacheFrom.length > 0 && !request.noCache) {
      const { CacheImports } = await import("./cache/import.js");
      imports = await CacheImports.open(request, { home, store, progress });
    }
    for (;;) {
      try {
        return await attempt(home, store, request, { progress, imports, started });
      } catch (error) {
        // What has been done is remembered, so starting over costs what the cache let down.
        if (!imports?.without(error)) throw error;
      }
    }
  } finally {
    await imports?.[Symbol.asyncDispose]();
    await store.close();
  }
}

/** Builds all platforms side by side, and what they come to. */
async function attempt(
  home: AegisHome,
  store: ImageStore,
  request: BuildRequest,
  { progress, imports, started }: Pick<Shared, "progress" | "imports"> & { readonly started: Date },
): Promise<BuildResult> {
  const used = { steps: new Map(), trees: new Map() };
  const failed = new AbortController();
  const workspace = new Workspace(home);
  const signal = AbortSignal.any([failed.signal, ...(request.signal ? [request.signal] : [])]);
  const trees = new ContextTrees({
    home,
    progress,
    request: { ...request, signal },
    temporary: (name) => workspace.temporary(name),
    closeAtEnd: (resource) => workspace.closeAtEnd(resource),
  });
  const shared = { progress, imports, used, layers: new LayerSupply(store), failed, workspace, trees };
  const sessions = request.platforms.map((platform) => new Session(home, store, { ...request, platform }, shared));
  try {
    const building = sessions.map((session) => session.run());
    const built = await Promise.all(building).catch(async (error: unknown) => {
      failed.abort();
      await Promise.allSettled(building);
      throw error;
    });
    return await sessions[0]!.finish(built, started);
  } finally {
    failed.abort();
    await shared.layers[Symbol.asyncDispose]();
    await workspace[Symbol.asyncDispose]();
  }
}

/** What the platforms of one build have in common. */
interface Shared extends Pick<BuildEnvironment, "progress" | "imports" | "used" | "layers"> {
  /** Ends all of them. */
  readonly failed: AbortController;
  readonly workspace: Workspace;
  readonly trees: ContextTrees;
}

/** What one platform's session has built. */
interface PlatformBuild {
  readonly platform: Platform;
  readonly stage: BuiltStage;
  readonly dockerfile: { readonly name: string; readonly content: Uint8Array };
  readonly materials: readonly Material[];
}

class Session {
  readonly #environment: BuildEnvironment;
  readonly #progress: Progress;
  readonly #abort: AbortController;
  readonly #trees: ContextTrees;
  readonly #bases: BaseImages;
  readonly #stages = new Map<Stage, Promise<BuiltStage>>();

  constructor(
    home: AegisHome,
    store: ImageStore,
    readonly original: BuildRequest,
    { progress, failed, workspace, trees, ...shared }: Shared,
  ) {
    this.#progress = progress;
    this.#abort = failed;
    this.#trees = trees;
    const signals = [this.#abort.signal, ...(original.signal ? [original.signal] : [])];
    const signal = AbortSignal.any(signals);
    // Every step that runs listens; Node warns of a leak at eleven.
    setMaxListeners(Number.POSITIVE_INFINITY, signal);
    const request: BuildRequest = { ...original, signal };
    this.#bases = new BaseImages(request.platform);
    this.#environment = {
      request,
      home,
      store,
      cache: openStepCache(home, (digest) => existsSync(store.blobPath(digest))),
      ...shared,
      progress: this.#progress,
      executor: lazyExecutor(home, request.isolation, this.#progress),
      temporary: (name) => workspace.temporary(name),
      closeAtEnd: (resource) => workspace.closeAtEnd(resource),
    };
  }

  async run(): Promise<PlatformBuild> {
    const { request } = this.#environment;
    const trees = this.#trees;
    const found = await findDockerfile(request, trees);
    const dockerfile = parseDockerfile(found.text, { filename: found.name, dialect: found.dialect });
    const plan = planBuild(dockerfile, request);
    const { target } = plan;
    const sources: Sources = new Sources(this.#environment, trees, dockerfile, found.path, (stage) =>
      this.#stage(plan, sources, stage),
    );
    const wanted = reachableStages(dockerfile, (stage) => plan.imageOf(stage).image, {
      target: request.target,
      standsAlone: (stage) => this.#replacement(stage) !== undefined,
    });
    const told = { request, bases: this.#bases, dockerfilePath: found.path, built: wanted };
    await this.#check(plan, told);
    for (const { instructions } of wanted) for (const it of instructions) checkEntitled(it, request, dockerfile);
    const building = wanted.map((stage) => this.#stage(plan, sources, stage));
    // The first failure ends the others; it is theirs that is told, not what followed from ending them.
    const built = await Promise.all(building).catch(async (error: unknown) => {
      this.#abort.abort();
      await Promise.allSettled(this.#stages.values());
      await this.#warn(plan, told);
      throw error;
    });
    await this.#warn(plan, told);
    this.#warnUnusedArgs(dockerfile, wanted);
    const result = built[wanted.indexOf(target)]!;
    await trees.save();
    return {
      stage: result,
      platform: request.platform,
      dockerfile: { name: found.name, content: found.text },
      materials: this.#bases.materials,
    };
  }

  /** Stores what the platforms' sessions have built. */
  async finish(built: readonly PlatformBuild[], started: Date): Promise<BuildResult> {
    const { request } = this.#environment;
    const materials = [...new Map(built.flatMap((it) => it.materials).map((it) => [JSON.stringify(it), it])).values()];
    const { dockerfile } = built[0]!;
    const facts = { mode: request.provenance ?? "min", request, dockerfile, materials, started };
    const result = await finishBuild(this.#environment, { stages: built, facts });
    const layers = built.flatMap(({ stage }) => stage.draft.layers);
    for (const target of request.cacheTo) {
      if (target.type === "inline") continue;
      const { exportCache } = await import("./cache/export.js");
      await exportCache(this.#environment, target, layers);
    }
    await this.#environment.layers.settled();
    await this.#keepImported();
    return result;
  }

  /** Steps of other machines' caches whose layers are here now count as this machine's own. */
  async #keepImported(): Promise<void> {
    const { imports, used, cache, store } = this.#environment;
    if (!imports) return;
    for (const [key, record] of used.steps) {
      if (imports.gave(key) && existsSync(store.blobPath(record.layer.descriptor.digest)))
        await cache.store(key, record);
    }
    for (const [question, answer] of used.trees) {
      if (imports.tree(question) === answer) await cache.remember(question, answer);
    }
  }

  /** `# check=error=true`: warnings that it doesn't skip fail the build before anything is built. */
  async #check(plan: Plan, at: LintSurroundings): Promise<void> {
    const { request, store } = this.#environment;
    if (!(request.buildArgs.BUILDKIT_DOCKERFILE_CHECK ?? plan.dockerfile.directives.check)?.includes("error")) return;
    const { failed, warnings } = await lintPlan(plan, { ...at, bases: await storedBases(plan, request, store) });
    if (!failed) return;
    this.#tell(warnings);
    throw checkFailed(plan.dockerfile.file.name, warnings);
  }

  /** Told once the base images are known, which some rules look into. */
  async #warn(plan: Plan, at: LintSurroundings): Promise<void> {
    this.#tell((await lintPlan(plan, at)).warnings);
  }

  #tell(warnings: readonly LintWarning[]): void {
    for (const { rule, message, range } of warnings) {
      this.#progress.warn({ rule, text: message, line: range.startLine });
    }
  }

  #stage(plan: Plan, sources: Sources, stage: Stage): Promise<BuiltStage> {
    const known = this.#stages.get(stage);
    if (known) return known;
    const building = this.#build(plan, sources, stage);
    building.catch(() => undefined);
    this.#stages.set(stage, building);
    return building;
  }

  async #build(plan: Plan, sources: Sources, stage: Stage): Promise<BuiltStage> {
    const { request } = this.#environment;
    const label = this.#label(plan.dockerfile, stage);
    const replacement = this.#replacement(stage);
    if (replacement !== undefined) {
      return await this.#base(sources, { reference: stage.name!, named: replacement, stage, label });
    }
    const from = plan.imageOf(stage);
    const parent = baseStage(plan.dockerfile, stage, from.image);
    const platform = from.platform === undefined ? request.platform : parsePlatform(from.platform);
    const base = parent
      ? await this.#stage(plan, sources, parent)
      : await this.#base(sources, { reference: from.image, stage, label, platform });
    return await buildStage(
      {
        dockerfile: plan.dockerfile,
        stage,
        label: label === "" ? "" : `${label} `,
        base,
        buildArgs: request.buildArgs,
        globalArgs: plan.globals,
        inputs: sources.for(stage),
        leadingSteps: parent || from.image === "scratch" ? 0 : 1,
        noCache:
          request.noCache || [stage.name, String(stage.index)].some((it) => it && request.noCacheStages.includes(it)),
      },
      this.#environment,
    );
  }

  /** Of several platforms each step says which it is for. */
  #label(dockerfile: Dockerfile, stage: Stage): string {
    const { platform, platforms } = this.#environment.request;
    const own = stage.name ?? (dockerfile.stages.length === 1 ? "" : `stage-${stage.index}`);
    return [platforms.length > 1 ? formatPlatform(platform) : "", own].filter(Boolean).join(" ");
  }

  /** The context that takes a stage's place: `--build-context` with its name. */
  #replacement(stage: Stage): NamedContext | undefined {
    return stage.name === undefined ? undefined : namedContext(this.original, stage.name);
  }

  /** What a stage starts from when it is no other stage: nothing, an image, or a named context. */
  async #base(sources: Sources, start: Start): Promise<BuiltStage> {
    const { reference, stage, label } = start;
    const environment = this.#environment;
    const platform = start.platform ?? environment.request.platform;
    if (reference === "scratch") {
      // Whatever --platform says: nothing of that platform is in it.
      const draft = scratchDraft(environment.request.platform);
      return { draft, roots: RootStack.of(environment, []), scope: Scope.empty(), inherited: 0 };
    }
    const steps = stage.instructions.filter(({ kind }) => ["RUN", "COPY", "ADD", "WORKDIR"].includes(kind)).length + 1;
    const number = "1".padStart(String(steps).length);
    const title = `[${label === "" ? "" : `${label} `}${number}/${steps}] FROM ${reference}`;
    const named = start.named ?? namedContext(environment.request, reference);
    if (named && named.type !== "image") {
      return await contextStage(environment, sources.trees, { context: named, name: reference, title, platform });
    }
    const wanted = named?.reference ?? reference;
    if (wanted === "scratch") return await this.#base(sources, { ...start, reference: wanted });
    const image = await this.#progress.during(title, () => resolveImage(environment, wanted, platform));
    this.#bases.add(reference, platform, image);
    const draft = draftOf(image, platform);
    const roots = RootStack.of(environment, draft.layers);
    return { draft, roots, scope: Scope.empty(), inherited: draft.history.length };
  }

  #warnUnusedArgs(dockerfile: Dockerfile, wanted: readonly Stage[]): void {
    const declared = new Set<string>(dockerfile.globalArgs.flatMap(({ args }) => args.map(({ name }) => name)));
    for (const stage of wanted) {
      for (const it of stage.instructions) if (it.kind === "ARG") for (const { name } of it.args) declared.add(name);
    }
    const unused = Object.keys(this.original.buildArgs).filter((name) => !declared.has(name) && !isBuilderArg(name));
    if (unused.length > 0) {
      this.#progress.warn({ text: `one or more build arguments were not consumed: ${unused.join(", ")}` });
    }
  }
}

interface Start {
  readonly reference: string;
  /** Known already to stand in for it. */
  readonly named?: NamedContext;
  readonly stage: Stage;
  readonly label: string;
  readonly platform?: Platform;
}

/** The finished image: config and manifest in the store, its disks, and the note which image this directory built last. */
import { existsSync } from "node:fs";
import type { Descriptor, HistoryEntry, ImageConfig, RuntimeConfig } from "../oci/types.js";
import { datedHistory } from "./draft.js";
import type { BuildEnvironment } from "./environment.js";
import { recordLastBuild } from "./last-build.js";
import type { BuiltStage } from "./stage.js";
import { keyOf } from "./steps/step.js";
import type { BuildRequest, BuildResult } from "./types.js";

/** Stores what the target stage has become. */
export async function storeResult(environment: BuildEnvironment, stage: BuiltStage): Promise<BuildResult> {
  const { request, progress, home } = environment;
  const config = { ...imageConfig(stage, request.labels), ...(await inlineCache(environment)) };
  return await progress.during("exporting to image", async (step) => {
    // Layers that are still on their way become disks while they arrive.
    const [stored, disks] = await Promise.allSettled([
      storedAlready(environment, config, stage).then((found) => found ?? put(environment, config, stage)),
      ensureDisks(environment, stage),
    ]);
    if (stored.status === "rejected") throw stored.reason;
    if (disks.status === "rejected") throw disks.reason;
    const target = stored.value;
    step.note(`manifest ${target.digest}`);
    for (const name of request.tags) step.note(`naming to ${name}`);
    const result: BuildResult = {
      image: target,
      config,
      imageId: target.digest,
      names: request.tags,
      steps: progress.counts.steps,
      cachedSteps: progress.counts.cached,
    };
    if (request.context?.type === "directory")
      await recordLastBuild(home, request.context.path, { image: target.digest, name: request.tags[0] });
    return result;
  });
}

const imageFact = (config: ImageConfig, stage: BuiltStage, { annotations }: BuildRequest): string =>
  keyOf(["image", JSON.stringify(config), annotations, stage.draft.layers.map((it) => it.descriptor.digest)]);

/** The image if it is in the store under all of its names already, found without a lock or a lease. */
async function storedAlready(
  { cache, store, request }: BuildEnvironment,
  config: ImageConfig,
  stage: BuiltStage,
): Promise<Descriptor | undefined> {
  const known = await cache.recall(imageFact(config, stage, request));
  if (known === undefined) return undefined;
  let target: Descriptor | undefined;
  for (const name of request.tags.length === 0 ? [known] : request.tags) {
    target = (await store.find(name, { pin: false }))?.target;
    if (target?.digest !== known) return undefined;
  }
  return target;
}

async function put(environment: BuildEnvironment, config: ImageConfig, stage: BuiltStage): Promise<Descriptor> {
  const { store, cache, request, layers } = environment;
  await Promise.all(stage.draft.layers.map(({ descriptor }) => layers.ready(descriptor)));
  const { target } = await store.putImage(
    { config, layers: stage.draft.layers.map((it) => it.descriptor) },
    request.tags,
  );
  await cache.remember(imageFact(config, stage, request), target.digest);
  return target;
}

function imageConfig(stage: BuiltStage, labels: Readonly<Record<string, string>>): ImageConfig {
  const { draft, inherited } = stage;
  const history = datedHistory(draft, inherited);
  const runtime: RuntimeConfig =
    Object.keys(labels).length === 0
      ? draft.config
      : { ...draft.config, Labels: { ...draft.config.Labels, ...labels } };
  const { architecture, os, variant } = draft.platform;
  const created = history.findLast((entry) => entry.created !== undefined)?.created ?? draft.created;
  // The reference writes these fields in the order of the alphabet.
  return {
    architecture,
    ...(draft.author === undefined ? {} : { author: draft.author }),
    config: written(runtime),
    ...(created === undefined ? {} : { created }),
    history: history.map(writtenEntry),
    os,
    rootfs: { type: "layers", diff_ids: draft.layers.map((it) => it.diffId) },
    ...(variant === undefined ? {} : { variant }),
  };
}

/** What `--cache-to type=inline` adds to the config. */
async function inlineCache({ request, used }: BuildEnvironment): Promise<object> {
  if (!request.cacheTo.some(({ type }) => type === "inline")) return {};
  const { encodeCache, inlineField } = await import("./cache/document.js");
  return { [inlineField]: encodeCache(used) };
}

/** The fields of Docker's image config in the order of its Go structure; whatever else a base image has comes last. */
const runtimeFields = (
  "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Entrypoint Cmd " +
  "Volumes WorkingDir Labels StopSignal ArgsEscaped Memory MemorySwap CpuShares Healthcheck OnBuild Shell"
).split(" ");

/** As Go writes it: empty fields left out (an empty list is one), the keys of maps in order. */
function written(config: RuntimeConfig): RuntimeConfig {
  const place = (key: string) => (runtimeFields.includes(key) ? runtimeFields.indexOf(key) : runtimeFields.length);
  const full = Object.entries(config)
    .filter(([, value]) => {
      if (value === null || value === undefined || value === "" || value === false) return false;
      return typeof value !== "object" || Object.keys(value).length > 0;
    })
    .sort(([a], [b]) => place(a) - place(b))
    .map(([key, value]) => [key, isMap(value) && key !== "Healthcheck" ? sorted(value) : value]);
  return Object.fromEntries(full);
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const sorted = (map: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(map).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))));

function writtenEntry({ created, created_by, author, comment, empty_layer, ...rest }: HistoryEntry): HistoryEntry {
  const fields = Object.entries({ created, created_by, author, comment, empty_layer });
  return { ...Object.fromEntries(fields.filter(([, value]) => value !== undefined)), ...rest };
}

/** Assembles the image's disks, so that `run` finds them; that they are there is remembered without opening anything. */
async function ensureDisks(environment: BuildEnvironment, stage: BuiltStage): Promise<void> {
  const { cache } = environment;
  const fact = keyOf(["root disks", stage.roots.chainId]);
  const known = await cache.recall(fact);
  if (known?.split("\n").every((file) => existsSync(file))) return;
  const lowers = await stage.roots.imageDisks();
  await cache.remember(fact, lowers.map(({ disk }) => disk).join("\n"));
}

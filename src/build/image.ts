/** The finished image: config and manifest in the store, its disks, and the note which image this directory built last. */
import { existsSync } from "node:fs";
import path from "node:path";
import { hostPlatform, isServedBy } from "../oci/platforms.js";
import type { HistoryEntry, ImageConfig, Platform, RuntimeConfig } from "../oci/types.js";
import { datedHistory } from "./draft.js";
import type { BuildEnvironment } from "./environment.js";
import type { Delivery } from "./export/deliver.js";
import { imageFact, type PlatformResult, type WrittenImage, writeImage } from "./export/image.js";
import type { ProvenanceFacts } from "./export/provenance.js";
import { type ImageVariant, usualVariant } from "./export/variant.js";
import { recordLastBuild } from "./last-build.js";
import type { BuiltStage } from "./stage.js";
import { keyOf } from "./steps/step.js";
import type { BuildResult } from "./types.js";

/** What the platforms' builds have become, and what provenance tells of them. */
export interface BuildOutcome {
  readonly stages: readonly { readonly platform: Platform; readonly stage: BuiltStage }[];
  readonly facts: ProvenanceFacts;
}

/** Stores the image and hands it on to the outputs. */
export async function finishBuild(environment: BuildEnvironment, outcome: BuildOutcome): Promise<BuildResult> {
  const { request, progress, home } = environment;
  const inline = await inlineCache(environment);
  const results = outcome.stages.map(
    ({ platform, stage }): PlatformResult => ({
      platform,
      stage,
      config: { ...imageConfig(stage, request.labels), ...inline },
    }),
  );
  const delivery = await createDelivery(environment, results, request.provenance && outcome.facts);
  const primary = request.outputs.find((output) => output.type === "image")?.variant ?? {
    ...usualVariant,
    annotations: request.annotations,
  };
  const written = await progress.during("exporting to image", async (step) => {
    const needsDisks = results.filter((it) => results.length === 1 || isServedBy(hostPlatform(), it.platform));
    // Layers that are still on their way become disks while they arrive.
    const [stored, ...disks] = await Promise.allSettled([
      storeImage(environment, delivery, primary, request.provenance !== undefined),
      ...needsDisks.map(({ stage }) => ensureDisks(environment, stage)),
    ]);
    if (stored.status === "rejected") throw stored.reason;
    for (const disk of disks) if (disk.status === "rejected") throw disk.reason;
    const image = stored.value;
    for (const { manifest } of image.images) step.note(`manifest ${manifest.digest}`);
    if (image.target.digest !== image.images[0]?.manifest.digest) step.note(`index ${image.target.digest}`);
    for (const name of request.tags) step.note(`naming to ${name}`);
    return image;
  });
  if (request.outputs.length > 0) {
    const { deliver } = await import("./export/deliver.js");
    for (const output of request.outputs) await deliver(environment, output, delivery);
  }
  const context = request.context?.type === "directory" ? request.context.path : request.directory;
  const last = { image: written.target.digest, name: request.tags[0] ?? path.basename(context) };
  for (const directory of new Set([context, request.directory])) await recordLastBuild(home, directory, last);
  return {
    image: written.target,
    images: written.images,
    facts: outcome.facts,
    config: results[0]!.config,
    imageId: written.target.digest,
    names: request.tags,
    steps: progress.counts.steps,
    cachedSteps: progress.counts.cached,
  };
}

/** Each form of the image is written once, however many outputs want it. */
async function createDelivery(
  environment: BuildEnvironment,
  results: readonly PlatformResult[],
  facts: ProvenanceFacts | undefined,
): Promise<Delivery> {
  const written = new Map<string, Promise<WrittenImage>>();
  const attestFor = facts && (await import("./export/provenance.js")).provenance;
  return {
    results,
    image: (variant, names) => {
      const key = JSON.stringify([variant, facts === undefined ? [] : names]);
      const image = written.get(key) ?? writeImage(environment, results, variant, facts && attestFor?.(facts, names));
      written.set(key, image);
      return image;
    },
  };
}

/** The image under the build's names; one that is in the store under all of them is found without a lock or a lease. */
async function storeImage(
  environment: BuildEnvironment,
  delivery: Delivery,
  variant: ImageVariant,
  isAttested: boolean,
): Promise<WrittenImage> {
  const { cache, store, request } = environment;
  const fact = isAttested ? undefined : imageFact(delivery.results, variant, request.asIndex);
  const known = fact === undefined ? undefined : await storedAlready(environment, fact);
  if (known) return known;
  const written = await delivery.image(variant, request.tags);
  const { mediaType, digest, size } = written.target;
  await store.putTarget({ mediaType, digest, size }, request.tags);
  if (fact !== undefined) await cache.remember(fact, JSON.stringify(written));
  return written;
}

async function storedAlready(
  { cache, store, request }: BuildEnvironment,
  fact: string,
): Promise<WrittenImage | undefined> {
  const known = await cache.recall(fact);
  if (known === undefined) return undefined;
  const image = JSON.parse(known) as WrittenImage;
  for (const name of request.tags.length === 0 ? [image.target.digest] : request.tags) {
    if ((await store.find(name, { pin: false }))?.target.digest !== image.target.digest) return undefined;
  }
  return image;
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
    created: created ?? null,
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

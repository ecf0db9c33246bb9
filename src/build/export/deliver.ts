/** Carries a finished image to where `--output` wants it. */
import path from "node:path";
import { formatPlatform } from "../../oci/platforms.js";
import { familiarName, formatReference, parseReference } from "../../oci/references.js";
import type { Descriptor, Platform } from "../../oci/types.js";
import { AegisError } from "../../support/errors.js";
import { replaceFile, writingTo } from "../../support/files.js";
import { registriesFile } from "../../support/home.js";
import type { BuildEnvironment } from "../environment.js";
import { type BuildOutput, standardOutput } from "../request-outputs.js";
import type { PlatformResult, WrittenImage } from "./image.js";
import type { ImageVariant } from "./variant.js";

type Chunks = AsyncIterable<Uint8Array>;

export interface Delivery {
  readonly results: readonly PlatformResult[];
  /** The image in one form, its documents in the store under no name; the same every time it is asked for. */
  image(variant: ImageVariant, names: readonly string[]): Promise<WrittenImage>;
}

/** @throws AegisError OUTPUT_UNNAMED, OUTPUT_ONE_PLATFORM, OUTPUT_UNWRITABLE, and what writing and pushing throw */
export async function deliver(environment: BuildEnvironment, output: BuildOutput, delivery: Delivery): Promise<void> {
  const place = "file" in output ? output.file : "directory" in output ? output.directory : undefined;
  const carried = () => carry(environment, output, delivery);
  await (place === undefined ? carried() : writingTo(place, carried));
}

async function carry(environment: BuildEnvironment, output: BuildOutput, delivery: Delivery): Promise<void> {
  const { progress, request } = environment;
  switch (output.type) {
    case "image":
      return await deliverImage(environment, output, delivery);
    case "archive":
    case "layout":
      return await deliverArchive(environment, output, delivery);
    case "tar":
      await progress.during(`writing ${output.file}`, () => writeTar(environment, output, delivery.results));
      return;
    case "local":
      await progress.during(`copying files to ${output.directory}`, async () => {
        const [{ HostTreeWriter }, { pushBelow }] = await Promise.all([
          import("../host-writer.js"),
          import("../../rootfs/view.js"),
        ]);
        for (const { stage, under } of split(delivery.results, output.split ?? request.asIndex)) {
          const writer = new HostTreeWriter(path.resolve(output.directory, under));
          await pushBelow(await stage.roots.finalDisks(), writer);
          await writer.finish();
        }
      });
      return;
    case "disk": {
      const [only, ...others] = delivery.results;
      if (only === undefined || others.length > 0) {
        throw new AegisError("OUTPUT_ONE_PLATFORM", "a disk holds the root filesystem of one platform", {
          hint: "build it with one --platform",
        });
      }
      await progress.during(`writing ${output.file}`, async () => {
        const [{ exportMergedDisk }, disks] = await Promise.all([
          import("../../rootfs/export.js"),
          only.stage.roots.rootDisks(),
        ]);
        await exportMergedDisk(disks, path.resolve(output.file));
      });
    }
  }
}

type OutputOf<T extends BuildOutput["type"]> = Extract<BuildOutput, { readonly type: T }>;

async function deliverImage(
  environment: BuildEnvironment,
  output: OutputOf<"image">,
  delivery: Delivery,
): Promise<void> {
  const { progress, store, request, home } = environment;
  const names = output.names.length > 0 ? output.names : request.tags;
  if (names.length === 0 && output.push) {
    throw new AegisError("OUTPUT_UNNAMED", "an image that is pushed needs a name", { hint: "give it one with -t" });
  }
  const { target } = await delivery.image(output.variant, names);
  if (!output.byDigest) await store.putTarget(bare(target), names);
  if (!output.push) return;
  const { pushRecord } = await import("../../oci/registry/push.js");
  const registry = { settingsFile: registriesFile(home) };
  for (const name of names) {
    const { tag: _tag, ...untagged } = parseReference(name);
    const reference = output.byDigest ? untagged : parseReference(name);
    await progress.during(`pushing ${familiarName(name)}`, async (step) => {
      const record = { target: bare(target), names: [formatReference(parseReference(name))] };
      await pushRecord(store, record, reference, { signal: request.signal, registry });
      step.note(`digest ${target.digest}`);
    });
  }
}

/** Without the annotations that are for an index above it. */
const bare = ({ mediaType, digest, size }: Descriptor): Descriptor => ({ mediaType, digest, size });

async function deliverArchive(
  environment: BuildEnvironment,
  output: OutputOf<"archive"> | OutputOf<"layout">,
  delivery: Delivery,
): Promise<void> {
  const { progress, store, request } = environment;
  const names = output.names.length > 0 ? output.names : request.tags;
  const written = await delivery.image(output.variant, names);
  const [only, ...others] = written.images;
  const target =
    others.length === 0 && written.target.digest === only?.manifest.digest
      ? { ...written.target, platform: only.platform }
      : written.target;
  const entered = names.length > 0 ? names : [undefined];
  if (output.type === "layout") {
    const { addToLayout } = await import("../../oci/archive/layout.js");
    const tagOf = (name: string) => parseReference(name).tag ?? name;
    await progress.during(`writing ${output.directory}`, () =>
      addToLayout(
        store,
        path.resolve(output.directory),
        entered.map((name) => ({ target, name })),
        tagOf,
      ),
    );
    return;
  }
  const { archiveOf } = await import("../../oci/archive/save.js");
  const { parseManifest } = await import("../../oci/documents.js");
  // Docker's own list has one platform: this host's, or the only one.
  const { choosePlatform, hostPlatform } = await import("../../oci/platforms.js");
  const chosen = choosePlatform(written.images, (it) => it.platform, hostPlatform()) ?? written.images[0]!;
  const image = { target: chosen.manifest, manifest: parseManifest(await store.readBlob(chosen.manifest.digest)) };
  await progress.during(`writing ${output.file}`, () =>
    write(
      environment,
      output.file,
      archiveOf(
        store,
        entered.map((name) => ({ target, name, image })),
      ),
    ),
  );
}

async function write({ request }: BuildEnvironment, file: string, chunks: Chunks): Promise<void> {
  if (file === standardOutput) {
    for await (const chunk of chunks) await request.stdout(chunk);
    return;
  }
  const fill = async (target: { write(chunk: Uint8Array): Promise<unknown> }) => {
    for await (const chunk of chunks) await target.write(chunk);
  };
  await replaceFile(path.resolve(file), fill, { mode: 0o644 });
}

async function writeTar(
  environment: BuildEnvironment,
  { file, split: asked }: OutputOf<"tar">,
  results: readonly PlatformResult[],
): Promise<void> {
  const { exportTars } = await import("../../rootfs/export-tar.js");
  const trees = await Promise.all(
    split(results, asked ?? environment.request.asIndex).map(async ({ stage, under }) => ({
      view: await stage.roots.finalDisks(),
      under,
    })),
  );
  const emit = (put: (chunk: Uint8Array) => Promise<unknown>) => exportTars(trees, put);
  if (file === standardOutput) return await emit(environment.request.stdout);
  await replaceFile(path.resolve(file), (target) => emit((chunk) => target.write(chunk)), { mode: 0o644 });
}

/** Trees of several platforms each have a directory of their own, `linux_arm64`; one alone only when that is asked for. */
function split(results: readonly PlatformResult[], apart: boolean) {
  return results.map(({ stage, platform }) => ({ stage, under: apart ? directoryOf(platform) : "" }));
}

const directoryOf = (platform: Platform): string => formatPlatform(platform).replaceAll("/", "_");

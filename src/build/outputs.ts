/** Carries a finished image to where `--output` wants it. */
import path from "node:path";
import { AegisError } from "../support/errors.js";
import { replaceFile } from "../support/files.js";
import type { BuildEnvironment } from "./environment.js";
import { type BuildOutput, standardOutput } from "./request-outputs.js";
import type { BuiltStage } from "./stage.js";
import type { BuildResult } from "./types.js";

type Chunks = AsyncIterable<Uint8Array>;

/** @throws AegisError OUTPUT_UNNAMED, and what writing and pushing throw */
export async function deliver(
  environment: BuildEnvironment,
  output: BuildOutput,
  stage: BuiltStage,
  result: BuildResult,
): Promise<void> {
  const { progress, store, request } = environment;
  switch (output.type) {
    case "image": {
      const names = [...output.names, ...(output.names.length > 0 ? [] : request.tags)];
      if (names.length === 0) {
        throw new AegisError("OUTPUT_UNNAMED", "an image that is pushed needs a name", { hint: "give it one with -t" });
      }
      for (const name of names) {
        await store.putTarget(result.image, [name]);
        if (!output.push) continue;
        const { pushImage } = await import("../oci/registry/push.js");
        await progress.during(`pushing ${name}`, async () => void (await pushImage(store, name)));
      }
      return;
    }
    case "archive": {
      const { saveArchive } = await import("../oci/archive/save.js");
      const references = request.tags.length > 0 ? request.tags : [result.imageId as string];
      await progress.during(`writing ${output.file}`, () =>
        write(environment, output.file, saveArchive(store, references)),
      );
      return;
    }
    case "tar":
      await progress.during(`writing ${output.file}`, () => writeTree(environment, output.file, stage));
      return;
    case "local":
      await progress.during(`copying files to ${output.directory}`, async () => {
        const [{ HostTreeWriter }, { pushBelow }] = await Promise.all([
          import("./host-writer.js"),
          import("../rootfs/view.js"),
        ]);
        const writer = new HostTreeWriter(path.resolve(output.directory));
        const view = await stage.roots.finalDisks();
        if (view) await pushBelow(view, writer);
        await writer.finish();
      });
      return;
    case "disk":
      await progress.during(`writing ${output.file}`, async () => {
        const [{ exportMergedDisk }, disks] = await Promise.all([
          import("../rootfs/export.js"),
          stage.roots.rootDisks(),
        ]);
        await exportMergedDisk(disks, path.resolve(output.file));
      });
  }
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

async function writeTree(environment: BuildEnvironment, file: string, stage: BuiltStage): Promise<void> {
  const { exportTar } = await import("../rootfs/export-tar.js");
  const view = await stage.roots.finalDisks();
  const emit = (put: (chunk: Uint8Array) => Promise<unknown>) => exportTar(view, put);
  if (file === standardOutput) return await emit(environment.request.stdout);
  await replaceFile(path.resolve(file), (target) => emit((chunk) => target.write(chunk)), { mode: 0o644 });
}

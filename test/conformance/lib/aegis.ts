/** Builds a case with aegis, in this process, into a home of the test's own. */
import { createReadStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { buildImage } from "../../../src/build/build.js";
import { buildRequest } from "../../../src/build/request.js";
import { importRootTar } from "../../../src/oci/archive/import.js";
import { openImageStore } from "../../../src/oci/store.js";
import { AegisError } from "../../../src/support/errors.js";
import { type AegisHome, openHome } from "../../../src/support/home.js";
import { writeBaseTar } from "./base.js";
import { baseImage, type ConformanceCase, type Recorded } from "./case.js";
import { writeContext } from "./context.js";
import { type ReadImage, readImage, recordedOf } from "./image.js";

export interface AegisBuilder {
  build(item: ConformanceCase, isolation: "container" | "vm"): Promise<Recorded>;
}

/** @param work an empty directory that holds everything and is removed by the caller */
export async function aegisBuilder(work: string): Promise<AegisBuilder> {
  const home = openHome({ ...process.env, AEGIS_HOME: path.join(work, "home") });
  const tar = path.join(work, "base.tar");
  await writeBaseTar(work, tar);
  const base = await importBase(home, tar);
  let count = 0;
  return {
    async build(item, isolation) {
      const context = path.join(work, `context-${++count}`);
      await mkdir(context);
      try {
        await writeContext(context, item);
        return await build(home, context, item, isolation, base);
      } finally {
        await rm(context, { recursive: true, force: true });
      }
    },
  };
}

async function importBase(home: AegisHome, tar: string): Promise<ReadImage> {
  const store = await openImageStore(home.images);
  try {
    const { target } = await importRootTar(store, createReadStream(tar), [baseImage], { config: {} });
    return await readImage(home.images, target);
  } finally {
    await store.close();
  }
}

async function build(
  home: AegisHome,
  context: string,
  item: ConformanceCase,
  isolation: string,
  base: ReadImage,
): Promise<Recorded> {
  const flags = item.flags ?? [];
  const values = (name: string) => flags.flatMap((flag, index) => (flag === name ? [flags[index + 1]!] : []));
  const { request } = buildRequest(
    {
      path: context,
      file: undefined,
      tags: [],
      buildArgs: values("--build-arg"),
      labels: values("--label"),
      target: values("--target")[0],
      platform: "linux/amd64",
      pull: false,
      noCache: false,
      network: undefined,
      addHost: [],
      cacheFrom: [],
      cacheTo: [],
      shmSize: undefined,
      secrets: [],
      ssh: [],
      buildContexts: [],
      annotations: [],
      noCacheFilter: [],
      output: [],
      push: false,
      load: false,
      isolation,
      progress: undefined,
    },
    { ...process.env, ...item.env },
    { stdout: async () => {} },
  );
  try {
    const { image } = await buildImage(home, request, () => {});
    return recordedOf(await readImage(home.images, image), item.dockerfile.includes(baseImage) ? base : undefined);
  } catch (error) {
    if (error instanceof AegisError) return { error: `${error.code}: ${error.message}` };
    throw error;
  }
}

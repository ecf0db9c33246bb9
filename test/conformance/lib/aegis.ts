/** Builds a case with the command itself, `bin/aegis.js build`, into a home of the test's own. */
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { importRootTar } from "../../../src/oci/archive/import.js";
import { openImageStore } from "../../../src/oci/store.js";
import { openHome } from "../../../src/support/home.js";
import { turns } from "../../../src/support/turns.js";
import { writeBaseTar } from "./base.js";
import { baseImage, type ConformanceCase, type Recorded } from "./case.js";
import { writeContext } from "./context.js";
import { type ReadImage, readImage, recordedOf } from "./image.js";

export interface AegisBuilder {
  /** Not more builds at a time than there are processors; the others wait. */
  build(item: ConformanceCase, isolation: "container" | "vm"): Promise<Recorded>;
}

const program = fileURLToPath(new URL("../../../bin/aegis.js", import.meta.url));

/**
 * @param work an empty directory that holds everything and is removed by the caller
 * @param isolations executors that cases will be built with; each gets a home of its own, lest one takes the other's layers
 */
export async function aegisBuilder(
  work: string,
  ...isolations: readonly ("container" | "vm")[]
): Promise<AegisBuilder> {
  const tar = path.join(work, "base.tar");
  await writeBaseTar(work, tar);
  const homeOf = (isolation: string) => path.join(work, `home-${isolation}`);
  let base: ReadImage | undefined;
  for (const isolation of isolations) base = await importBase(homeOf(isolation), tar);
  const slots = turns(availableParallelism());
  let count = 0;
  return {
    build: (item, isolation) =>
      slots(async () => {
        const site = path.join(work, `case-${++count}`);
        const context = path.join(site, "context");
        await mkdir(context, { recursive: true });
        try {
          await writeContext(context, item);
          return await build(homeOf(isolation), site, item, isolation, base);
        } finally {
          await rm(site, { recursive: true, force: true });
        }
      }),
  };
}

async function importBase(root: string, tar: string): Promise<ReadImage> {
  const home = openHome({ ...process.env, AEGIS_HOME: root });
  const store = await openImageStore(home.images);
  try {
    const { target } = await importRootTar(store, createReadStream(tar), [baseImage], { config: {} });
    return await readImage(home.images, target);
  } finally {
    await store.close();
  }
}

async function build(
  home: string,
  site: string,
  item: ConformanceCase,
  isolation: string,
  base: ReadImage | undefined,
): Promise<Recorded> {
  const iidfile = path.join(site, "iid");
  const flags = ["--platform=linux/amd64", "--isolation", isolation, "--progress=plain", "--iidfile", iidfile];
  const { status, stderr } = await run(["build", ...flags, ...(item.flags ?? []), "."], path.join(site, "context"), {
    ...process.env,
    ...item.env,
    AEGIS_HOME: home,
    NO_COLOR: "1",
  });
  if (status === 0) {
    const digest = await readFile(iidfile, "utf8");
    const image = await readImage(path.join(home, "images"), { digest });
    return recordedOf(image, item, base);
  }
  const message = /^aegis: .* \[AEGIS_E_\w+\]$/ms.exec(stderr)?.[0];
  if (message === undefined || message.includes("[AEGIS_E_INTERNAL]")) {
    throw new Error(`aegis build ended with ${status} and no proper error:\n${stderr}`);
  }
  return { error: message };
}

function run(
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly status: number; readonly stderr: string }> {
  return new Promise((resolve) => {
    const settings = { cwd, env, timeout: 240_000, maxBuffer: 64 << 20 };
    const child = execFile(process.execPath, [program, ...args], settings, (error, _stdout, stderr) => {
      resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : 255, stderr });
    });
    child.stdin?.end();
  });
}

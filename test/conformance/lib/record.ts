/** Runs all cases through the reference builder and writes what it made of them. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { suites } from "../cases/index.js";
import { writeBaseTar } from "./base.js";
import { type ConformanceCase, contextTime, timeSpread } from "./case.js";
import { importBase, recordWithDocker } from "./docker.js";
import { readRecording, writeRecording } from "./recordings.js";

/** `only` limits it to suites of these names; cases recorded before are kept unless they changed or `--all` is among them. */
export async function record(directory: string, only: readonly string[]): Promise<void> {
  const work = await mkdtemp(path.join(tmpdir(), "conformance-record-"));
  try {
    const tar = path.join(work, "base.tar");
    await writeBaseTar(work, tar);
    const base = await importBase(tar);
    const names = only.filter((word) => !word.startsWith("--"));
    for (const [suite, cases] of Object.entries(suites)) {
      if (names.length > 0 && !names.includes(suite)) continue;
      const file = path.join(directory, `${suite}.json`);
      const known = only.includes("--all") ? {} : readRecording(suite, file);
      const results = await inParallel(cases, async (item) => {
        const input = inputOf(item);
        const before = known[item.name];
        if (before !== undefined && before.input === input) return before;
        return { input, ...(await recordWithDocker(item, base, contextTime + Math.floor(Math.random() * timeSpread))) };
      });
      const recording = Object.fromEntries(cases.map((item, index) => [item.name, results[index]!]));
      writeRecording(file, recording);
      console.log(
        `${suite}: ${cases.length} cases, ${results.filter((result) => "error" in result).length} of them errors`,
      );
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** What a recording stands for, to notice changed cases. */
export const inputOf = (item: ConformanceCase): string =>
  createHash("sha256")
    .update(JSON.stringify([item.dockerfile, item.context ?? {}, item.flags ?? [], item.env ?? {}]))
    .digest("hex")
    .slice(0, 12);

async function inParallel<T, R>(items: readonly T[], body: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await body(items[index]!);
    }
  };
  await Promise.all([worker(), worker()]);
  return results;
}

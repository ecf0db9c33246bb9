/** Tells in few lines how aegis's result of a case differs from the recorded one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { builtSuites, decided } from "../cases/index.js";
import { type AegisBuilder, aegisBuilder } from "./aegis.js";
import { type ConformanceCase, type Recorded, runsCommands } from "./case.js";
import { readBuilds } from "./recordings.js";

export interface CompareOptions {
  /** Suites by name; all when empty. */
  readonly only: readonly string[];
  readonly isolation: "container" | "vm";
  /** Only cases that have a RUN: no other meets an executor. */
  readonly runs: boolean;
}

/** Prints what differs, suite by suite; the number of cases that do, and shouldn't. */
export async function compare({ only, isolation, runs }: CompareOptions): Promise<number> {
  const work = await mkdtemp(path.join(tmpdir(), "aegis-compare-"));
  let differing = 0;
  try {
    const builder = await aegisBuilder(work, isolation);
    for (const [suite, cases] of Object.entries(builtSuites)) {
      if (only.length > 0 && !only.includes(suite)) continue;
      const wanted = cases.filter((item) => !runs || runsCommands(item));
      const results = await Promise.all(wanted.map((item) => outcomeOf(builder, suite, item, isolation)));
      const same = results.filter((lines) => lines.length === 0).length;
      for (const [index, item] of wanted.entries()) {
        const lines = results[index]!;
        if (lines.length === 0) continue;
        const reason = decided[item.name];
        if (reason === undefined) differing++;
        const details = reason === undefined ? lines : [`on purpose: ${reason}`];
        console.log(`${suite}: ${item.name}\n${details.map((line) => `  ${line}`).join("\n")}`);
      }
      console.log(`${suite}: ${same} of ${wanted.length} alike`);
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return differing;
}

async function outcomeOf(
  builder: AegisBuilder,
  suite: string,
  item: ConformanceCase,
  isolation: "container" | "vm",
): Promise<readonly string[]> {
  try {
    return differences(readBuilds(suite)[item.name]!, await builder.build(item, isolation));
  } catch (error) {
    // Told like a difference: the other cases go on.
    return [`+ ${error instanceof Error ? error.message : error}`];
  }
}

/** What is in only one of the two, as lines; nothing when they are alike. The order of a config's fields counts. */
export function differences(expected: Recorded, actual: Recorded): readonly string[] {
  if ("error" in expected && "error" in actual) {
    // How a failure is told is each builder's own; what a command that was started ended with is not.
    const [before, now] = [expected, actual].map(({ error }) => /exit code:? (\d+)/.exec(error)?.[1]);
    return before === now || now === undefined ? [] : [`- exit code ${before}`, `+ exit code ${now}`];
  }
  const [left, right] = [linesOf(expected), linesOf(actual)];
  const missing = left.filter((line) => !right.includes(line)).map((line) => `- ${line}`);
  const extra = right.filter((line) => !left.includes(line)).map((line) => `+ ${line}`);
  if (missing.length + extra.length === 0) return [];
  const told = [expected, actual].flatMap((one) => ("error" in one ? [`(${one.error.split("\n")[0]})`] : []));
  return [...missing, ...extra, ...told];
}

function linesOf(recorded: Recorded): readonly string[] {
  if ("error" in recorded) return ["fails"];
  if ("warnings" in recorded) return [];
  const { config, ...outer } = recorded.config;
  const inner = Object.entries(config as object);
  return [
    ...Object.entries(outer).map(([key, value]) => `${key} ${JSON.stringify(value)}`),
    `fields ${Object.keys(recorded.config)}`,
    ...inner.map(([key, value]) => `config ${key} ${JSON.stringify(value)}`),
    `config fields ${inner.map(([key]) => key)}`,
    ...recorded.history.map((entry, index) => `history ${index} ${JSON.stringify(entry)}`),
    `layers ${recorded.layers}`,
    ...recorded.tree.map((line) => `tree ${line}`),
  ];
}

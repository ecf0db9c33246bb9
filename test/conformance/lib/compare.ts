/** Tells in few lines how aegis's result of each case differs from the recorded one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { suites } from "../cases/index.js";
import { aegisBuilder } from "./aegis.js";
import type { Recorded } from "./case.js";
import { readBuilds } from "./recordings.js";

export async function compare(only: readonly string[], isolation: "container" | "vm"): Promise<void> {
  const work = await mkdtemp(path.join(tmpdir(), "aegis-compare-"));
  try {
    const builder = await aegisBuilder(work);
    for (const [suite, cases] of Object.entries(suites)) {
      if (suite === "lint" || (only.length > 0 && !only.includes(suite))) continue;
      const recording = readBuilds(suite);
      let same = 0;
      for (const item of cases) {
        const differences = differencesOf(recording[item.name]!, await builder.build(item, isolation));
        if (differences.length === 0) same++;
        else console.log(`${suite}: ${item.name}\n${differences.map((line) => `  ${line}`).join("\n")}`);
      }
      console.log(`${suite}: ${same} of ${cases.length} alike`);
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function differencesOf(expected: Recorded, actual: Recorded): string[] {
  const lines = (recorded: Recorded): string[] => {
    if ("error" in recorded) return ["fails"];
    if ("warnings" in recorded) return [];
    const config = Object.entries(recorded.config.config as object).map(
      ([key, value]) => `config ${key} ${JSON.stringify(value)}`,
    );
    const { config: _, ...rest } = recorded.config;
    const outer = Object.entries(rest).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
    const history = recorded.history.map((entry, index) => `history ${index} ${JSON.stringify(entry)}`);
    return [
      ...outer,
      ...config,
      ...history,
      `layers ${recorded.layers}`,
      ...recorded.tree.map((line) => `tree ${line}`),
    ];
  };
  const [left, right] = [lines(expected), lines(actual)];
  const told = [expected, actual].flatMap((one) => ("error" in one ? [`(${one.error?.split("\n")[0]})`] : []));
  const missing = left.filter((line) => !right.includes(line)).map((line) => `- ${line}`);
  const extra = right.filter((line) => !left.includes(line)).map((line) => `+ ${line}`);
  return missing.length + extra.length === 0 ? [] : [...missing, ...extra, ...told];
}

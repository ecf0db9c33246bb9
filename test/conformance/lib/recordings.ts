/** Recordings on disk: one line a case, and every line of a tree once, because suites have most of them in common. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Recorded } from "./case.js";

/** `input` is a digest of the case that was recorded. */
export type Entry = Recorded & { readonly input: string };

interface Stored {
  readonly lines: readonly string[];
  readonly cases: Readonly<Record<string, { readonly tree?: readonly number[]; readonly [key: string]: unknown }>>;
}

const fileOf = (suite: string): URL => new URL(`../recorded/${suite}.json`, import.meta.url);

/** Only what was built, not what was checked. */
export type BuiltEntry = Exclude<Entry, { readonly warnings: unknown }>;

/** What was recorded of a suite of builds, by the cases' names. */
export const readBuilds = (suite: string): Readonly<Record<string, BuiltEntry>> =>
  readRecording(suite) as Readonly<Record<string, BuiltEntry>>;

/** What was recorded of a suite, by the cases' names; nothing when there is no recording. */
export function readRecording(suite: string, file: string | URL = fileOf(suite)): Readonly<Record<string, Entry>> {
  let stored: Stored;
  try {
    stored = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
  const entries = Object.entries(stored.cases).map(([name, entry]) => {
    const tree = entry.tree?.map((index) => stored.lines[index]);
    return [name, { ...entry, ...(tree === undefined ? {} : { tree }) } as unknown as Entry] as const;
  });
  return Object.fromEntries(entries);
}

export function writeRecording(file: string, recording: Readonly<Record<string, Entry>>): void {
  const numbers = new Map<string, number>();
  const number = (line: string): number => {
    const known = numbers.get(line) ?? numbers.size;
    numbers.set(line, known);
    return known;
  };
  const cases = Object.entries(recording).map(([name, entry]) => {
    const stored = "tree" in entry ? { ...entry, tree: entry.tree.map(number) } : entry;
    return `  ${JSON.stringify(name)}: ${JSON.stringify(stored)}`;
  });
  const lines = [...numbers.keys()].map((line) => `  ${JSON.stringify(line)}`);
  writeFileSync(file, `{\n "cases": {\n${cases.join(",\n")}\n },\n "lines": [\n${lines.join(",\n")}\n ]\n}\n`);
}

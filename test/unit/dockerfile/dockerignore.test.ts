import path from "node:path";
import { describe, expect, test } from "vitest";
import { createIgnoreMatcher, type IgnoreState, parseDockerignore } from "../../../src/dockerfile/dockerignore.js";
import { goMatch, hasWildcard } from "../../../src/dockerfile/matcher.js";
import { AegisError } from "../../../src/support/errors.js";
import { ignore, ignoreTree, wildcard } from "../../conformance/cases/ignore.js";
import { readBuilds } from "../../conformance/lib/recordings.js";

const nameOf = (line: string): string => /^(.*?) (?:file|directory|symlink|link) \d/.exec(line)![1]!;
const directories = new Set(ignoreTree.map((entry) => path.posix.dirname(entry)));
directories.add("empty").add("d/empty");

describe("what a .dockerignore leaves of a context, as the reference builder does", () => {
  const recording = readBuilds("ignore");
  test.each(ignore)("$name", (item) => {
    const expected = recording[item.name]!;
    const patterns = () => createIgnoreMatcher(parseDockerignore(item.context![".dockerignore"] as string));
    if ("error" in expected) {
      expect(patterns).toThrow(AegisError);
      return;
    }
    const matcher = patterns();
    const kept = new Set<string>();
    const states = new Map<string, IgnoreState>();
    const skipped: string[] = [];
    for (const entry of ignoreTree) {
      const parent = path.posix.dirname(entry);
      const state = matcher.match(entry, parent === "." ? undefined : states.get(parent));
      expect(matcher.ignores(entry)).toBe(state.ignored);
      states.set(entry, state);
      if (directories.has(entry) && matcher.canSkipDirectory(entry, state)) skipped.push(`${entry}/`);
      if (!state.ignored) for (let at = entry; at !== "."; at = path.posix.dirname(at)) kept.add(at);
    }
    expect([...kept].sort()).toEqual(expected.tree.map(nameOf).sort());
    for (const directory of skipped) expect([...kept].filter((entry) => entry.startsWith(directory))).toEqual([]);
  });
});

describe("what a wildcard of COPY matches, as the reference builder does", () => {
  const recording = readBuilds("wildcard");
  const tree = ignoreTree.filter((entry) => entry !== ".dockerignore");
  // What these show is not the matcher's: a file over a directory, a symlink that is followed.
  const others = new Set(["COPY *", "COPY **", "COPY */", "COPY link/*"]);
  test.each(wildcard.filter((item) => !others.has(item.name)))("$name", (item) => {
    const expected = recording[item.name]!;
    const pattern = path.posix.normalize(`/${item.name.slice("COPY ".length)}`).slice(1);
    const matches = () =>
      hasWildcard(pattern)
        ? tree.filter((entry) => goMatch(pattern.replace(/\/$/, ""), entry))
        : tree.filter((entry) => entry === pattern);
    if ("error" in expected) {
      if (/syntax error in pattern/.test(expected.error))
        expect(() => createIgnoreMatcher([pattern])).toThrow(AegisError);
      else expect(matches()).toEqual([]);
      return;
    }
    const copied = new Set<string>();
    for (const match of matches()) {
      const below = tree.filter((entry) => entry.startsWith(`${match}/`));
      if (!directories.has(match)) copied.add(path.posix.basename(match));
      for (const entry of below) copied.add(entry.slice(match.length + 1));
    }
    expect([...copied].sort()).toEqual(
      expected.tree
        .map(nameOf)
        .filter((name) => name !== "to")
        .map((name) => name.slice(3))
        .sort(),
    );
  });
});

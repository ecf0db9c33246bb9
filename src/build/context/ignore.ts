/** Which `.dockerignore` holds for a context, and its patterns as a filter of a tree. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createIgnoreMatcher, type IgnoreState, parseDockerignore } from "../../dockerfile/dockerignore.js";
import { type ByteString, decodeText } from "../../support/brands.js";
import { hasErrno } from "../../support/errors.js";
import { parentOf } from "../../support/tree-paths.js";

import type { ContextFilter } from "./local.js";

/** Patterns of `<Dockerfile>.dockerignore` if there is one, else of `.dockerignore` at the context's root. */
export async function ignorePatterns(contextRoot: string, dockerfile: string | undefined): Promise<readonly string[]> {
  const candidates = [
    ...(dockerfile === undefined ? [] : [`${dockerfile}.dockerignore`]),
    path.join(contextRoot, ".dockerignore"),
  ];
  for (const file of candidates) {
    try {
      return parseDockerignore(await readFile(file, "utf8"));
    } catch (error) {
      if (!hasErrno(error, "ENOENT", "ENOTDIR")) throw error;
    }
  }
  return [];
}

/** undefined when nothing is left out. @throws Fault when a pattern is malformed */
export function contextFilter(patterns: readonly string[]): ContextFilter | undefined {
  if (patterns.length === 0) return undefined;
  const matcher = createIgnoreMatcher(patterns);
  const directories = new Map<ByteString, IgnoreState>();
  const stateOf = (at: ByteString): IgnoreState => {
    const known = directories.get(at);
    if (known) return known;
    const parent = parentOf(at);
    return matcher.match(decodeText(at), parent === "" ? undefined : directoryState(parent));
  };
  const directoryState = (at: ByteString): IgnoreState => {
    const state = stateOf(at);
    directories.set(at, state);
    return state;
  };
  return {
    ignored: (at) => stateOf(at).ignored,
    mayReinclude: (at) => !matcher.canSkipDirectory(decodeText(at), directoryState(at)),
  };
}

/** What a list of patterns (`.dockerignore`, `--exclude`) leaves of a tree. */
import { createIgnoreMatcher, type IgnoreState } from "../../dockerfile/dockerignore.js";
import { type ByteString, decodeText } from "../../support/brands.js";
import { joinPath, parentOf, pathFrom } from "../../support/tree-paths.js";
import type { SourceView } from "./sources.js";

export interface TreeFilter {
  /** True when the path itself is left out. */
  ignored(path: ByteString): boolean;
  /** True when something below an ignored directory may still be in. */
  mayReinclude(directory: ByteString): boolean;
}

/** undefined when nothing is left out. @throws Fault when a pattern is malformed */
export function patternFilter(patterns: readonly string[]): TreeFilter | undefined {
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

/** The tree without what the filter leaves out below `top`; patterns are relative to that directory, which itself stays. */
export function filteredView(view: SourceView, top: ByteString, filter: TreeFilter): SourceView {
  const names = new Map<ByteString, Promise<readonly ByteString[]>>();
  const lstat = async (path: ByteString) => {
    const below = pathFrom(top, path);
    const out = below !== "" && filter.ignored(below);
    if (out && !filter.mayReinclude(below)) return undefined;
    const node = await view.lstat(path);
    // A directory that is left out is there only for the sake of something below that isn't.
    if (out && (node?.type !== "directory" || (await list(path)).length === 0)) return undefined;
    return node;
  };
  const list = (path: ByteString): Promise<readonly ByteString[]> => {
    const known = names.get(path) ?? listed(path);
    names.set(path, known);
    return known;
  };
  const listed = async (path: ByteString) => {
    const kept: ByteString[] = [];
    for (const name of await view.readdir(path)) if (await lstat(joinPath(path, name))) kept.push(name);
    return kept;
  };
  return { lstat, readdir: list, read: (path, sink) => view.read(path, sink), ...digestOf(view) };
}

const digestOf = (view: SourceView): Pick<SourceView, "digest"> =>
  view.digest === undefined ? {} : { digest: (path) => view.digest!(path) };

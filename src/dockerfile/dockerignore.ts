/**
 * .dockerignore files and `--exclude` lists: which paths of a tree are left out. The last pattern that matches a path or one of its parents
 * decides; results are carried from a directory to its children exactly as the reference's walk does, which differs from looking
 * at each path alone when exceptions and repeated patterns meet.
 */
import path from "node:path";
import { Fault } from "./errors.js";
import { compileIgnorePattern } from "./ignore-pattern.js";
import { goMatch } from "./matcher.js";
import { trimSpace } from "./text.js";

/** What is known of a path after matching it; hand it to `match` for what lies below. */
export interface IgnoreState {
  readonly ignored: boolean;
  /** For each pattern, whether it matched this path or a parent. */
  readonly matched: readonly boolean[];
}

export interface IgnoreMatcher {
  /** Cleaned patterns; exceptions start with `!`. */
  readonly patterns: readonly string[];
  /** Matches one path during a walk: `parent` is its directory's state, undefined at the top. */
  match(relativePath: string, parent: IgnoreState | undefined): IgnoreState;
  /** Whether a path is left out, found by walking down to it. Directories' results are kept. */
  ignores(relativePath: string): boolean;
  /** True when the directory is left out and no exception can bring back anything below it: it need not be read. */
  canSkipDirectory(relativePath: string, state: IgnoreState): boolean;
}

interface Pattern {
  readonly text: string;
  readonly exception: boolean;
  readonly matches: (path: string) => boolean;
  readonly segments: readonly string[];
}

/**
 * Patterns of a .dockerignore file: comments and blank lines dropped, blanks trimmed, paths cleaned and made relative to the context's root.
 */
export function parseDockerignore(text: string): string[] {
  const patterns: string[] = [];
  for (const line of text.replace(/^\ufeff/, "").split("\n")) {
    if (line.startsWith("#")) continue;
    const trimmed = trimSpace(line);
    if (trimmed === "") continue;
    const exception = trimmed.startsWith("!");
    let pattern = exception ? trimSpace(trimmed.slice(1)) : trimmed;
    if (pattern !== "") pattern = cleanPath(pattern);
    if (pattern.length > 1 && pattern.startsWith("/")) pattern = pattern.slice(1);
    patterns.push(exception ? `!${pattern}` : pattern);
  }
  return patterns;
}

/**
 * @param patterns as `parseDockerignore` gives them, or as written after `--exclude=`
 * @throws Fault when a pattern is malformed
 */
export function createIgnoreMatcher(patterns: readonly string[]): IgnoreMatcher {
  const compiled = patterns.map(trimSpace).flatMap((text) => (text === "" ? [] : compile(cleanPath(text))));
  const directories = new Map<string, IgnoreState>();
  const match: IgnoreMatcher["match"] = (relativePath, parent) => {
    let ignored = false;
    const matched = compiled.map((pattern, index) => {
      let hit = parent?.matched[index] ?? false;
      if (!hit) {
        // A pattern that could not change the verdict is not tried, and then its children don't inherit from it either.
        if (pattern.exception !== ignored) return false;
        hit = pattern.matches(relativePath);
      }
      if (hit) ignored = !pattern.exception;
      return hit;
    });
    return { ignored, matched };
  };
  const directoryState = (directory: string): IgnoreState | undefined => {
    if (directory === "." || directory === "/" || directory === "") return undefined;
    const known = directories.get(directory);
    if (known !== undefined) return known;
    const state = match(directory, directoryState(path.posix.dirname(directory)));
    directories.set(directory, state);
    return state;
  };
  return {
    patterns: compiled.map(({ text }) => text),
    match,
    ignores: (relativePath) => match(relativePath, directoryState(path.posix.dirname(relativePath))).ignored,
    canSkipDirectory: (relativePath, state) => {
      if (!state.ignored) return false;
      const decided = state.matched.findLastIndex((hit, index) => hit && !compiled[index]!.exception);
      const below = relativePath.split("/");
      return !compiled.some(
        (pattern, index) => pattern.exception && index > decided && mayMatchBelow(pattern.segments, below),
      );
    },
  };
}

function compile(text: string): Pattern {
  const exception = text.startsWith("!");
  const body = exception ? text.slice(1) : text;
  if (body === "") {
    throw new Fault('illegal exclusion pattern: "!"', {
      code: "DOCKERFILE_PATTERN",
      hint: "name what is to be kept after the !",
    });
  }
  // The pattern is checked against the syntax of filepath.Match first, as the reference does.
  goMatch(body, ".");
  return { text, exception, matches: compileIgnorePattern(body), segments: body.split("/") };
}

/** Whether a pattern of these segments can match something below a directory: true when in doubt. */
function mayMatchBelow(segments: readonly string[], directory: readonly string[]): boolean {
  for (const [index, name] of directory.entries()) {
    const segment = segments[index];
    if (segment === undefined) return false;
    if (segment.includes("**") || /[[\]]/.test(segment)) return true;
    if (!goMatch(segment, name)) return false;
  }
  return segments.length > directory.length;
}

/** Go's `filepath.Clean`. */
function cleanPath(text: string): string {
  const normal = path.posix.normalize(text);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}

/**
 * File name patterns: Go's `filepath.Match` (wildcards of COPY and ADD) and the patterns of .dockerignore, which share its syntax and
 * add `**`.
 */
import { Fault } from "./errors.js";

/**
 * Go's `filepath.Match` on a slash-separated path: `*` and `?` don't match `/`, `[a-z]` and `[^a-z]` are classes, `\` takes the next
 * character literally. The whole name must match.
 * @throws Fault (`syntax error in pattern`) when the pattern is malformed, even if the name fails to match before the fault
 */
export function goMatch(pattern: string, name: string): boolean {
  const tokens = goTokens(pattern);
  const text = [...name];
  // Positions in the pattern and the name to return to when the last `*` takes one more character.
  let starAt = -1;
  let starFrom = 0;
  let p = 0;
  let n = 0;
  while (n < text.length || p < tokens.length) {
    const token = tokens[p];
    if (token === "*") {
      starAt = p++;
      starFrom = n;
      continue;
    }
    if (token !== undefined && n < text.length && matchesOne(token, text[n]!)) {
      p++;
      n++;
      continue;
    }
    if (starAt < 0 || starFrom >= text.length || text[starFrom] === "/") return false;
    n = ++starFrom;
    p = starAt + 1;
  }
  return true;
}

type Range = readonly [low: number, high: number];
type GoToken =
  | "*"
  | { readonly ch: string }
  | { readonly negated: boolean; readonly ranges: readonly Range[]; readonly any?: true };

function matchesOne(token: Exclude<GoToken, "*">, ch: string): boolean {
  if ("ch" in token) return token.ch === ch;
  if (token.any) return ch !== "/";
  const code = ch.codePointAt(0)!;
  return token.ranges.some(([low, high]) => low <= code && code <= high) !== token.negated;
}

export const badPattern = (pattern: string): Fault =>
  new Fault(`syntax error in pattern "${pattern}"`, {
    code: "DOCKERFILE_PATTERN",
    hint: "a [ needs its ], a class at least one character, and a backslash something to stand before",
    at: pattern,
  });

/** @throws Fault */
function goTokens(pattern: string): readonly GoToken[] {
  const chars = [...pattern];
  const tokens: GoToken[] = [];
  let at = 0;
  const escaped = (): string => {
    const ch = chars[at++];
    if (ch === undefined) throw badPattern(pattern);
    return ch;
  };
  const classMember = (): number => {
    if (chars[at] === undefined || chars[at] === "-" || chars[at] === "]") throw badPattern(pattern);
    if (chars[at] === "\\") at++;
    const ch = escaped();
    // The class has to be closed, so it can't be the last character.
    if (at >= chars.length) throw badPattern(pattern);
    return ch.codePointAt(0)!;
  };
  while (at < chars.length) {
    const ch = chars[at++]!;
    if (ch === "*") {
      if (tokens.at(-1) !== "*") tokens.push("*");
    } else if (ch === "?") tokens.push({ any: true, negated: false, ranges: [] });
    else if (ch === "\\") tokens.push({ ch: escaped() });
    else if (ch !== "[") tokens.push({ ch });
    else {
      const negated = chars[at] === "^";
      if (negated) at++;
      const ranges: Range[] = [];
      while (!(chars[at] === "]" && ranges.length > 0)) {
        const low = classMember();
        let high = low;
        if (chars[at] === "-") {
          at++;
          high = classMember();
        }
        ranges.push([low, high]);
      }
      at++;
      tokens.push({ negated, ranges });
    }
  }
  return tokens;
}

/** True when a COPY or ADD source has a wildcard in it; an escaped one is none, and without any the path is taken literally, escapes too. */
export const hasWildcard = (path: string): boolean => /[*?[]/.test(path.replace(/\\./gs, ""));

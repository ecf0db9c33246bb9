/**
 * The wildcard patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and `\` before one of them; no brackets. Matching keeps a set of
 * reachable positions, so its cost is bounded by pattern times text whatever both contain.
 */
import { Fault } from "./errors.js";

type Token = { readonly kind: "char"; readonly ch: string } | { readonly kind: "one" } | { readonly kind: "many" };

/**
 * @throws Fault for an escape that is none
 */
export function compilePattern(pattern: string): readonly Token[] {
  const tokens: Token[] = [];
  const chars = [...pattern];
  for (let i = 0; i < chars.length; i++) {
    const ch = chars[i]!;
    if (ch === "*") tokens.push({ kind: "many" });
    else if (ch === "?") tokens.push({ kind: "one" });
    else if (ch === "\\") {
      const next = chars[i + 1];
      // `}` and `/` must be escaped to be part of the pattern; the escape itself is not.
      if (next === "}" || next === "/") continue;
      if (next !== "*" && next !== "?" && next !== "\\") {
        throw new Fault(`invalid pattern (${pattern}) in substitution: invalid escape '\\${next ?? ""}'`, {
          at: pattern,
        });
      }
      tokens.push({ kind: "char", ch: next });
      i++;
    } else tokens.push({ kind: "char", ch });
  }
  return tokens;
}

/** Steps that one substitution may take: a pattern of many stars on a long text takes their product, `//` for every start. */
const maxSteps = 2_000_000;
const maxResult = 1 << 20;

interface Budget {
  left: number;
}

/**
 * Every position at which a match that starts at `start` may end. Wildcards don't cross a line feed.
 * @throws Fault when it takes more steps than are left
 */
function matchEnds(
  tokens: readonly Token[],
  text: readonly string[],
  start: number,
  budget: Budget,
): readonly number[] {
  let ends = new Set([start]);
  for (const token of tokens) {
    const next = new Set<number>();
    budget.left -= ends.size + 1;
    if (budget.left < 0) throw new Fault("the pattern of a substitution takes too long on this text");
    for (const at of ends) {
      if (token.kind === "char") {
        if (text[at] === token.ch) next.add(at + 1);
      } else if (token.kind === "one") {
        if (at < text.length && text[at] !== "\n") next.add(at + 1);
      } else {
        for (let to = at; ; to++) {
          if (next.has(to) && to > at) break;
          next.add(to);
          if (to >= text.length || text[to] === "\n") break;
        }
      }
    }
    ends = next;
  }
  return [...ends];
}

const longest = (ends: readonly number[]): number => ends.reduce((a, b) => Math.max(a, b), -1);
const shortest = (ends: readonly number[]): number => ends.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);

/** `${value#pattern}`, or `##` when `greedy`. */
export function removePrefix(value: string, pattern: string, greedy: boolean): string {
  return trimPrefix([...value], compilePattern(pattern), greedy).join("");
}

/** `${value%pattern}`, or `%%` when `greedy`: the same from the other end. */
export function removeSuffix(value: string, pattern: string, greedy: boolean): string {
  return trimPrefix([...value].reverse(), [...compilePattern(pattern)].reverse(), greedy)
    .reverse()
    .join("");
}

function trimPrefix(text: readonly string[], tokens: readonly Token[], greedy: boolean): string[] {
  const ends = matchEnds(tokens, text, 0, { left: maxSteps });
  return ends.length === 0 ? [...text] : text.slice(greedy ? longest(ends) : shortest(ends));
}

/** `${value/pattern/replacement}`, or every match when `all`; matches are leftmost and longest. */
export function replacePattern(value: string, pattern: string, replacement: string, all: boolean): string {
  const tokens = compilePattern(pattern);
  const text = [...value];
  // The reference fills every match from a template but the first one literally.
  const filler = all ? fillTemplate(replacement) : replacement;
  let result = "";
  let copied = 0;
  let lastEnd = -1;
  const budget = { left: maxSteps };
  for (let at = 0; at <= text.length; at++) {
    const end = longest(matchEnds(tokens, text, at, budget));
    // An empty match right behind another match is none.
    if (end < 0 || (end === at && at === lastEnd)) continue;
    result += text.slice(copied, at).join("") + filler;
    if (result.length > maxResult) throw new Fault("the result of a substitution is larger than 1 MiB");
    copied = end;
    lastEnd = end;
    if (!all) break;
    if (end > at) at = end - 1;
  }
  return result + text.slice(copied).join("");
}

/** Go's `Regexp.Expand` where there are no groups but the missing ones: `$1`, `${name}` give nothing, `$$` a dollar. */
function fillTemplate(template: string): string {
  return template.replace(/\$(?:\$|\{[\p{L}\p{Nd}_]+\}|[\p{L}\p{Nd}_]+)/gu, (match) => (match === "$$" ? "$" : ""));
}

/**
 * One pattern of .dockerignore or --exclude, with the meaning the reference gives it: it is rewritten into a regular expression, and what
 * that rewriting does to odd patterns (a `*` within brackets, say) is part of the meaning. Patterns of few wildcards run on the engine's
 * regular expressions, others on a set of states whose cost is bounded by pattern times path.
 */
import { badPattern } from "./matcher.js";

type Token =
  | { readonly kind: "char"; readonly source: string; readonly many: boolean; readonly test: (ch: string) => boolean }
  /** Any number of whole directories, none included. */
  | { readonly kind: "directories" }
  | { readonly kind: "anything" }
  | { readonly kind: "start" };

/** Beyond this many, backtracking could take long on hostile input. */
const maxBacktrackingWildcards = 4;

/**
 * A predicate on slash-separated relative paths.
 * @param backtracking with more wildcards than this the path is matched by states
 * @throws Fault when the pattern is malformed
 */
export function compileIgnorePattern(
  pattern: string,
  backtracking: number = maxBacktrackingWildcards,
): (path: string) => boolean {
  const rewritten = rewrite(pattern);
  if (rewritten.kind === "expression") return compileExpression(rewritten.source, pattern, backtracking);
  if (rewritten.kind === "exact") return (path) => path === pattern;
  if (rewritten.kind === "prefix") {
    const prefix = pattern.slice(0, -2);
    return (path) => path.startsWith(prefix);
  }
  const suffix = pattern.slice(2);
  return (path) => path.endsWith(suffix) || (suffix.startsWith("/") && path === suffix.slice(1));
}

function compileExpression(rewritten: string, pattern: string, backtracking: number): (path: string) => boolean {
  const tokens = tokenize(rewritten, pattern);
  const wildcards = tokens.filter((token) => token.kind !== "char" || token.many).length;
  if (wildcards > backtracking) return (path) => runStates(tokens, [...path]);
  const source = tokens.map(sourceOf).join("");
  const expression = new RegExp(`^${source}$`, "u");
  return (path) => expression.test(path);
}

type Rewritten =
  | { readonly kind: "exact" | "prefix" | "suffix" }
  | { readonly kind: "expression"; readonly source: string };

/** The reference's rewriting, step by step: which of the four ways of matching applies depends on the order of what is met. */
function rewrite(pattern: string): Rewritten {
  const chars = [...pattern];
  let kind: Rewritten["kind"] = "exact";
  let source = "";
  for (let at = 0, step = 0; at < chars.length; step++) {
    const ch = chars[at++]!;
    if (ch === "*" && chars[at] === "*") {
      at++;
      if (chars[at] === "/") at++;
      if (at < chars.length) {
        source += "(.*/)?";
        kind = "expression";
      } else if (kind === "exact") kind = "prefix";
      else {
        source += ".*";
        kind = "expression";
      }
      if (step === 0) kind = "suffix";
    } else if (ch === "*") {
      source += "[^/]*";
      kind = "expression";
    } else if (ch === "?") {
      source += "[^/]";
      kind = "expression";
    } else if (".+()|{}$".includes(ch)) source += `\\${ch}`;
    else if (ch === "\\" && at < chars.length) {
      source += `\\${chars[at++]!}`;
      kind = "expression";
    } else if (ch === "[" || ch === "]") {
      source += ch;
      kind = "expression";
    } else source += ch;
  }
  return kind === "expression" ? { kind, source } : { kind };
}

function tokenize(source: string, pattern: string): readonly Token[] {
  const chars = [...source];
  const tokens: Token[] = [];
  let at = 0;
  const follows = (text: string): boolean => chars.slice(at, at + text.length).join("") === text;
  while (at < chars.length) {
    if (follows("(.*/)?")) {
      tokens.push({ kind: "directories" });
      at += 6;
    } else if (follows(".*")) {
      tokens.push({ kind: "anything" });
      at += 2;
    } else if (chars[at] === "[") {
      const parsed = parseClass(chars, at, pattern);
      at = parsed.next;
      const many = chars[at] === "*";
      if (many) at++;
      tokens.push({ kind: "char", source: parsed.source, many, test: testOf(parsed.source) });
    } else if (chars[at] === "^") {
      tokens.push({ kind: "start" });
      at++;
    } else {
      const parsed =
        chars[at] === "\\" ? parseEscape(chars, at, pattern) : { source: literal(chars[at]!), next: at + 1 };
      at = parsed.next;
      tokens.push({ kind: "char", source: parsed.source, many: false, test: testOf(parsed.source) });
    }
  }
  return tokens;
}

const literal = (ch: string): string =>
  /^[\^$\\.*+?()[\]{}|/-]$/.test(ch) ? `\\x${ch.charCodeAt(0).toString(16).padStart(2, "0")}` : ch;

const testOf = (source: string): ((ch: string) => boolean) => {
  const expression = new RegExp(`^${source}$`, "u");
  return (ch) => expression.test(ch);
};

/** Escapes that mean a class or a control character; punctuation means itself and other letters are malformed. */
const escapes: Readonly<Record<string, string>> = {
  d: "[0-9]",
  D: "[^0-9]",
  w: "[0-9A-Za-z_]",
  W: "[^0-9A-Za-z_]",
  s: "[\\t\\n\\f\\r ]",
  S: "[^\\t\\n\\f\\r ]",
  a: "\\x07",
  f: "\\f",
  n: "\\n",
  r: "\\r",
  t: "\\t",
  v: "\\v",
};

function parseEscape(
  chars: readonly string[],
  at: number,
  pattern: string,
): { readonly source: string; readonly next: number } {
  const ch = chars[at + 1];
  if (ch === undefined) throw badPattern(pattern);
  const known = escapes[ch];
  if (known !== undefined) return { source: known, next: at + 2 };
  if (/^[0-9A-Za-z]$/.test(ch) || ch.codePointAt(0)! >= 0x80) throw badPattern(pattern);
  return { source: literal(ch), next: at + 2 };
}

/** A class in brackets; a `]` right at its beginning is a member. */
function parseClass(
  chars: readonly string[],
  start: number,
  pattern: string,
): { readonly source: string; readonly next: number } {
  let at = start + 1;
  const negated = chars[at] === "^";
  if (negated) at++;
  const members: string[] = [];
  const member = (): string => {
    if (chars[at] === undefined) throw badPattern(pattern);
    const parsed = chars[at] === "\\" ? parseEscape(chars, at, pattern) : { source: literal(chars[at]!), next: at + 1 };
    at = parsed.next;
    // Classes like \d stand in the class without brackets of their own; a negated one can't.
    if (parsed.source.startsWith("[^")) throw badPattern(pattern);
    return parsed.source.startsWith("[") ? parsed.source.slice(1, -1) : parsed.source;
  };
  do {
    const low = member();
    if (chars[at] === "-" && chars[at + 1] !== "]") {
      at++;
      members.push(`${low}-${member()}`);
    } else members.push(low);
  } while (chars[at] !== "]");
  const source = `[${negated ? "^" : ""}${members.join("")}]`;
  try {
    new RegExp(source, "u");
  } catch {
    throw badPattern(pattern);
  }
  return { source, next: at + 1 };
}

function sourceOf(token: Token): string {
  if (token.kind === "char") return token.many ? `${token.source}*` : token.source;
  if (token.kind === "directories") return "(?:[^\\n]*\\/)?";
  return token.kind === "anything" ? "[^\\n]*" : "^";
}

/** All states reachable in `path`; a state is the number of tokens done, and a half-eaten token counts as not done. */
function runStates(tokens: readonly Token[], path: readonly string[]): boolean {
  /** Adds a state, and those behind it that need no character; `entered` is false for a token that is being continued. */
  const add = (states: Set<number>, state: number, at: number, entered = true): void => {
    const key = entered ? state : state + 0.5;
    if (states.has(key)) return;
    states.add(key);
    const token = tokens[state];
    if (token === undefined) return;
    const skippable =
      token.kind === "start"
        ? at === 0
        : token.kind === "directories"
          ? entered
          : token.kind === "anything" || token.many;
    if (skippable) add(states, state + 1, at);
  };
  let states = new Set<number>();
  add(states, 0, 0);
  for (const [index, ch] of path.entries()) {
    const next = new Set<number>();
    for (const key of states) {
      const state = Math.floor(key);
      const token = tokens[state];
      if (token?.kind === "char" && token.test(ch)) add(next, token.many ? state : state + 1, index + 1);
      else if (token?.kind === "anything" && ch !== "\n") add(next, state, index + 1);
      else if (token?.kind === "directories" && ch !== "\n") {
        add(next, state, index + 1, false);
        if (ch === "/") add(next, state + 1, index + 1);
      }
    }
    states = next;
  }
  return states.has(tokens.length);
}

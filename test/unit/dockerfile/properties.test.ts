import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileIgnorePattern } from "../../../src/dockerfile/ignore-pattern.js";
import { goMatch } from "../../../src/dockerfile/matcher.js";
import { lexWord, lexWords } from "../../../src/dockerfile/shell-lexer.js";
import { removePrefix, removeSuffix, replacePattern } from "../../../src/dockerfile/shell-pattern.js";
import { splitQuotedWords } from "../../../src/dockerfile/words.js";
import { AegisError } from "../../../src/support/errors.js";
import { fuzz } from "../../conformance/lib/fuzz.js";

const nothing = () => undefined;
const text = fc.string({ unit: "grapheme", maxLength: 20 });
const escaped = (value: string) => [...value].map((ch) => `\\${ch}`).join("");
const doubleQuoted = (value: string) => `"${value.replace(/["$\\]/g, "\\$&")}"`;

describe("the word lexer", () => {
  test("gives back any text that is escaped or quoted", () => {
    fc.assert(
      fc.property(text, (value) => {
        expect(lexWord(escaped(value), nothing)).toBe(value);
        expect(lexWord(doubleQuoted(value), nothing)).toBe(value);
        if (!value.includes("'")) expect(lexWord(`'${value}'`, nothing)).toBe(value);
      }),
    );
  });

  test("leaves text alone that has nothing special in it", () => {
    const plain = text.filter((value) => !/[$'"\\]|^\ufeff/.test(value));
    fc.assert(
      fc.property(plain, (value) => {
        expect(lexWord(value, () => "never asked")).toBe(value);
        expect(lexWord(`a${value}\\`, nothing, { escape: "`" })).toBe(`a${value}\\`.replaceAll("`", ""));
      }),
    );
  });

  test("gives back what is quoted in pieces, each in its own way, for either escape character", () => {
    const piece = fc.tuple(text, fc.constantFrom("escaped", "single", "double"));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 4 }), fc.constantFrom("\\" as const, "`" as const), (pieces, mark) => {
        const escapeAll = (value: string) => [...value].map((ch) => mark + ch).join("");
        const written = pieces.map(([value, way]) => {
          if (way === "escaped") return escapeAll(value);
          if (way === "double")
            return `"${[...value].map((ch) => ('"$'.includes(ch) || ch === mark ? mark + ch : ch)).join("")}"`;
          return value
            .split("'")
            .map((part) => `'${part}'`)
            .join(`${mark}'`);
        });
        expect(lexWord(written.join(""), nothing, { escape: mark })).toBe(pieces.map(([value]) => value).join(""));
      }),
    );
  });

  test("takes the value or the word, by the modifier and by what is set", () => {
    const value = fc.option(text, { nil: undefined });
    const word = text.filter((it) => !/[{}]/.test(it));
    fc.assert(
      fc.property(value, word, (set, other) => {
        const of = (modifier: string) => lexWord(`\${V${modifier}${doubleQuoted(other)}}`, () => set);
        expect(of("-")).toBe(set ?? other);
        expect(of(":-")).toBe(set || other);
        expect(of("+")).toBe(set === undefined ? "" : other);
        expect(of(":+")).toBe(set ? other : "");
        if (set !== undefined) expect(of("?")).toBe(set);
        else expect(() => of("?")).toThrow(AegisError);
        if (set) expect(of(":?")).toBe(set);
        else expect(() => of(":?")).toThrow(AegisError);
      }),
    );
  });

  test("gives a variable's value whole, whatever is in it", () => {
    fc.assert(
      fc.property(text, (value) => {
        expect(lexWord('x${V}y"$V"', () => value)).toBe(`x${value}y${value}`);
      }),
    );
  });

  test("splits only at blanks that are bare", () => {
    const word = text.filter((value) => value !== "");
    fc.assert(
      fc.property(fc.array(word, { maxLength: 5 }), (words) => {
        const line = words.map(escaped).join("  ");
        expect(lexWords(line, nothing)).toEqual(words);
        expect(splitQuotedWords(line, "\\").map((raw) => lexWord(raw, nothing))).toEqual(words);
      }),
    );
  });

  test("ends in a text or a coded error", () => {
    const soup = fc.string({ unit: fc.constantFrom(..."a$ {}:-+?#%/\\\"'*<\n".split("")), maxLength: 60 });
    fc.assert(
      fc.property(soup, (value) => {
        try {
          lexWord(value, (name) => (name === "a" ? "aa" : undefined));
        } catch (error) {
          if (!(error instanceof AegisError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("patterns remove what they say: prefix and suffix are mirror images, and a literal is itself", () => {
    fc.assert(
      fc.property(text, text, fc.boolean(), (a, b, greedy) => {
        const literal = (value: string) => value.replace(/[*?\\]/g, "\\$&").replace(/[}/]/g, "\\$&");
        expect(removePrefix(a + b, literal(a), greedy)).toBe(b);
        expect(removeSuffix(a + b, literal(b), greedy)).toBe(a);
        if (a !== "") expect(replacePattern(b, literal(a), "", true)).toBe(b.split(a).join(""));
      }),
    );
  });
});

describe("patterns of a substitution", () => {
  const letters = fc.constantFrom("a", "b", "é", "\n", "*", "?", "\\");
  const wild = fc.array(
    fc.oneof(
      letters.map((ch) => ({ ch })),
      fc.constantFrom({ any: "*" }, { any: "?" }),
    ),
    { maxLength: 6 },
  );
  type Piece = { readonly ch: string } | { readonly any: string };
  const written = (pieces: readonly Piece[]) =>
    pieces.map((it) => ("any" in it ? it.any : it.ch.replace(/[*?\\]/, "\\$&"))).join("");
  const source = (pieces: readonly Piece[]) =>
    pieces.map((it) => ("any" in it ? (it.any === "*" ? ".*" : ".") : it.ch.replace(/[*?\\]/, "\\$&"))).join("");
  const subject = fc.array(letters, { maxLength: 8 }).map((parts) => parts.join(""));

  test("take the shortest or the longest of all prefixes and suffixes that match", () => {
    fc.assert(
      fc.property(wild, subject, (pieces, value) => {
        const matches = new RegExp(`^(?:${source(pieces)})$`, "u");
        const cuts = [...value, ""].map((_, i) => [...value].slice(0, i).join("").length);
        const prefixes = cuts.filter((at) => matches.test(value.slice(0, at)));
        const suffixes = cuts.filter((at) => matches.test(value.slice(at)));
        const pattern = written(pieces);
        expect(removePrefix(value, pattern, false)).toBe(value.slice(prefixes[0] ?? 0));
        expect(removePrefix(value, pattern, true)).toBe(value.slice(prefixes.at(-1) ?? 0));
        expect(removeSuffix(value, pattern, false)).toBe(value.slice(0, suffixes.at(-1) ?? value.length));
        expect(removeSuffix(value, pattern, true)).toBe(value.slice(0, suffixes[0] ?? value.length));
      }),
      { numRuns: 1000 },
    );
  });

  test("replace what a regular expression finds", () => {
    fc.assert(
      fc.property(wild, subject, (pieces, value) => {
        const found = new RegExp(source(pieces), "u").exec(value);
        const expected = found
          ? `${value.slice(0, found.index)}<>${value.slice(found.index + found[0].length)}`
          : value;
        expect(replacePattern(value, written(pieces), "<>", false)).toBe(expected);
      }),
      { numRuns: 1000 },
    );
  });
});

const alphabet = fc.constantFrom("a", "b", "é", "/", ".");
const path = fc
  .array(fc.string({ unit: fc.constantFrom("a", "b", "é", "."), minLength: 1, maxLength: 4 }), {
    minLength: 1,
    maxLength: 4,
  })
  .map((parts) => parts.join("/"));
// Without negated classes: they match a slash, and Go then keeps to the first way that a star can be met.
const piece = fc.oneof(alphabet, fc.constantFrom("*", "?", "[ab]", "[a-c]", "\\*", "\\a"));
const pattern = fc.array(piece, { minLength: 1, maxLength: 7 }).map((pieces) => pieces.join(""));

/** The plainest way to match: try everything. */
function plainMatch(rule: string, name: string): boolean {
  if (rule === "") return name === "";
  const [first, rest] = [[...name][0], [...name].slice(1).join("")];
  if (rule[0] === "*")
    return plainMatch(rule.slice(1), name) || (first !== undefined && first !== "/" && plainMatch(rule, rest));
  if (first === undefined) return false;
  if (rule[0] === "?") return first !== "/" && plainMatch(rule.slice(1), rest);
  if (rule[0] === "\\") return first === rule[1] && plainMatch(rule.slice(2), rest);
  if (rule[0] !== "[") return first === rule[0] && plainMatch(rule.slice(1), rest);
  const end = rule.indexOf("]");
  return new RegExp(`^${rule.slice(0, end + 1)}$`, "u").test(first) && plainMatch(rule.slice(end + 1), rest);
}

describe("file name patterns", () => {
  test("match as the plainest matcher does", () => {
    fc.assert(
      fc.property(pattern, path, (rule, name) => {
        expect(goMatch(rule, name)).toBe(plainMatch(rule, name));
      }),
      { numRuns: 2000 },
    );
  });

  test("know classes: ranges, escapes and what is left out, within one name", () => {
    const member = fc.constantFrom("a", "b", "é", "a-c", "\\]", "\\-", "\\^", "x-z");
    const group = fc.tuple(fc.boolean(), fc.array(member, { minLength: 1, maxLength: 3 }));
    const name = fc.array(fc.constantFrom("a", "b", "c", "é", "]", "-", "^", "y"), { maxLength: 4 });
    fc.assert(
      fc.property(fc.array(fc.oneof(group, fc.constantFrom("*", "?", "a")), { maxLength: 4 }), name, (parts, chars) => {
        const [rule, source] = ["", ""].map((_, as) =>
          parts
            .map((part) => {
              if (typeof part !== "string") return `[${part[0] ? "^" : ""}${part[1].join("")}]`;
              return as === 0 ? part : part.replace("*", ".*").replace("?", ".");
            })
            .join(""),
        );
        expect(goMatch(rule!, chars.join(""))).toBe(new RegExp(`^${source}$`, "u").test(chars.join("")));
      }),
      { numRuns: 2000 },
    );
  });

  test("match the same by states as by backtracking", () => {
    const wild = fc.array(fc.oneof(piece, fc.constantFrom("**", "**/", "/**", "[^a]")), { minLength: 1, maxLength: 7 });
    fc.assert(
      fc.property(wild, path, (pieces, name) => {
        const rule = pieces.join("");
        expect(compileIgnorePattern(rule, 0)(name)).toBe(compileIgnorePattern(rule, 99)(name));
      }),
      { numRuns: 2000 },
    );
  });

  test("of many wildcards end soon on a path that almost matches", () => {
    const matches = compileIgnorePattern(`${"**/a*".repeat(30)}/x`);
    expect(matches(`${"a/".repeat(1000)}y`)).toBe(false);
  });
});

test("damaged Dockerfiles end in a result or a coded error", () => {
  expect(fuzz(1, { runs: 1500 }).runs).toBe(1500);
});

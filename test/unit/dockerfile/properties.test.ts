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

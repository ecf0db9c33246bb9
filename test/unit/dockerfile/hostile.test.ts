import { describe, expect, test } from "vitest";
import { parseDockerfile } from "../../../src/dockerfile/parser.js";
import { lexWord } from "../../../src/dockerfile/shell-lexer.js";
import { evaluate } from "./evaluate.js";

/** The code of the error that `body` ends in; undefined when it ends well. */
function codeOf(body: () => unknown): string | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    return (error as { readonly code?: string }).code;
  }
}

describe("what is too large is refused", () => {
  const tooLarge: Readonly<Record<string, () => string>> = {
    "a line of 100 MB": () => `FROM scratch\nRUN ${"a".repeat(100_000_000)}\n`,
    "a million continuation lines of text": () => `FROM scratch\nRUN a${" \\\n some more text".repeat(1_000_000)}\n`,
    "more instructions than anybody has": () => `FROM scratch\n${"CMD a\n".repeat(100_001)}`,
    "more stages than anybody has": () => "FROM scratch\n".repeat(10_001),
  };
  test.each(Object.entries(tooLarge))("%s", (_, text) => {
    expect(codeOf(() => parseDockerfile(text()))).toBe("DOCKERFILE_TOO_LARGE");
  });

  test("variables that double with every line", () => {
    const lines = Array.from({ length: 40 }, () => "ENV A=$A$A$A$A");
    expect(codeOf(() => evaluate(`FROM scratch\nENV A=aaaaaaaa\n${lines.join("\n")}\n`))).toBe("DOCKERFILE_EXPANSION");
  });

  test("a replacement that blows up", () => {
    const values: Readonly<Record<string, string>> = { A: "a".repeat(10_000), B: "b".repeat(10_000) };
    expect(codeOf(() => lexWord("${A//a/$B}", (name) => values[name]))).toBe("DOCKERFILE_SYNTAX");
  });

  test("a pattern of many stars on a long text", () => {
    const value = "a".repeat(100_000);
    const pattern = "*a".repeat(1000);
    expect(codeOf(() => lexWord(`\${A##${pattern}*b}`, () => value))).toBe("DOCKERFILE_SYNTAX");
    expect(codeOf(() => lexWord(`\${A//${pattern}b/x}`, () => value))).toBe("DOCKERFILE_SYNTAX");
  });

  test("variables within variables within variables", () => {
    const deep = (depth: number) => `${"${N:-".repeat(depth)}x${"}".repeat(depth)}`;
    expect(lexWord(deep(100), () => undefined)).toBe("x");
    for (const depth of [1000, 100_000])
      expect(codeOf(() => lexWord(deep(depth), () => undefined))).toBe("DOCKERFILE_EXPANSION");
  });
});

describe("what is merely long is read", () => {
  const long: Readonly<Record<string, () => string>> = {
    "a line of a million characters": () => `FROM scratch\nRUN ${"a".repeat(1_000_000)}\n`,
    "a hundred thousand continuation lines": () => `FROM scratch\nRUN a${" \\\n b".repeat(100_000)}\n`,
    "a hundred thousand empty lines in a continuation": () => `FROM scratch\nRUN a \\\n${"\n".repeat(100_000)} b\n`,
    "a here-document of a hundred thousand lines": () => `FROM scratch\nCOPY <<A /x\n${"line\n".repeat(100_000)}A\n`,
    "a thousand here-documents": () => `FROM scratch\nCOPY ${"<<A ".repeat(1000)}/d/\n${"A\n".repeat(1000)}`,
    "ten thousand variables on a line": () => `FROM scratch\nENV ${"a=b ".repeat(10_000)}\n`,
    "brackets that are no JSON": () => `FROM scratch\nCMD ${"[".repeat(100_000)}\n`,
  };
  test.each(Object.entries(long))("%s", (_, text) => {
    expect(parseDockerfile(text()).stages[0]!.instructions).toHaveLength(1);
  });
});

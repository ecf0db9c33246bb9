import { describe, expect, test } from "vitest";
import { expandInstruction } from "../../../src/dockerfile/expand.js";
import { parseDockerfile, parseOnbuild } from "../../../src/dockerfile/parser.js";
import type { Instruction } from "../../../src/dockerfile/types.js";
import { AegisError } from "../../../src/support/errors.js";

const only = (line: string): Instruction => parseDockerfile(`FROM scratch\n${line}\n`).stages[0]!.instructions[0]!;

function failure(text: string, dialect: "dockerfile" | "aegisfile" = "dockerfile"): AegisError {
  try {
    parseDockerfile(text, { dialect });
  } catch (error) {
    if (error instanceof AegisError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

describe("lines", () => {
  test("a continuation skips comments and empty lines, keeps indentation, and warns of the empty ones", () => {
    const file = parseDockerfile("FROM scratch\nRUN a \\  \n# comment\n\n   b \\\n\tc\n");
    expect(file.stages[0]!.instructions[0]).toMatchObject({
      command: { form: "shell", text: "a    b \tc" },
      range: { startLine: 2, endLine: 6 },
    });
    expect(file.warnings.map((warning) => warning.rule)).toEqual(["NoEmptyContinuation"]);
  });

  test("an escaped escape at a line's end does not continue it", () => {
    expect(parseDockerfile("FROM scratch\nENV A=a\\\\\nENV B=b\n").stages[0]!.instructions).toHaveLength(2);
  });

  test("a byte order mark, CRLF and a last line that ends in an escape are accepted", () => {
    const file = parseDockerfile("\ufeffFROM scratch\r\nRUN a \\\r\n  b\r\nCMD x \\");
    expect(file.stages[0]!.instructions).toMatchObject([{ command: { text: "a   b" } }, { command: { text: "x" } }]);
  });

  test("the escape directive changes continuation and escaping", () => {
    const file = parseDockerfile("# escape=`\nFROM scratch\nRUN a `\n  b\\\nENV X=1` 2\n");
    expect(file.stages[0]!.instructions).toMatchObject([
      { command: { text: "a   b\\" } },
      { pairs: [{ key: "X", value: "1` 2" }] },
    ]);
  });
});

describe("here-documents", () => {
  test("several bodies follow one instruction, tabs and quotes as marked", () => {
    const copy = only('COPY <<one <<-"two" /dir/\n$a\none\n\t\t$b\n\ttwo');
    expect(copy).toMatchObject({
      sources: [],
      destination: "/dir/",
      heredocs: [
        { name: "one", content: "$a\n", expand: true },
        { name: "two", content: "$b\n", raw: "\t\t$b\n", expand: false },
      ],
    });
    expect(expandInstruction(copy, (name) => `<${name}>`)).toMatchObject({
      heredocs: [{ content: "<a>\n" }, { content: "$b\n" }],
    });
  });

  test("an unfinished one is an error that names its end", () => {
    expect(failure("FROM scratch\nRUN <<EOF\ntrue\n")).toMatchObject({
      code: "DOCKERFILE_SYNTAX",
      details: { line: 2, column: 5 },
      hint: "end it with a line that says only EOF",
    });
  });

  test("an ONBUILD trigger carries its body along", () => {
    const trigger = only("ONBUILD COPY <<A /a\nbody\nA\n");
    expect(trigger).toMatchObject({ expression: "COPY <<A /a\nbody\nA" });
    expect(trigger.kind === "ONBUILD" && parseOnbuild(trigger.expression)).toMatchObject({
      kind: "COPY",
      heredocs: [{ content: "body\n" }],
    });
  });
});

describe("errors", () => {
  test("an unknown instruction is marked in its line, with the nearest known one", () => {
    const error = failure("FROM scratch\n  CPOY a b\n");
    expect(error).toMatchObject({
      code: "DOCKERFILE_UNKNOWN_INSTRUCTION",
      message: "Dockerfile:2:3: unknown instruction CPOY",
      hint: "did you mean COPY?",
      details: { file: "Dockerfile", line: 2, column: 3 },
    });
    expect(error.context).toBe("  1 | FROM scratch\n> 2 |   CPOY a b\n    |   ^");
  });

  test("an unknown flag is marked where it stands, on a continuation line too", () => {
    expect(failure("FROM scratch\nCOPY \\\n  --chwon=1 a b\n")).toMatchObject({
      code: "DOCKERFILE_UNKNOWN_FLAG",
      hint: "did you mean --chown?",
      details: { line: 3, column: 3 },
    });
  });

  test("an instruction of the machine in a Dockerfile says what to do", () => {
    expect(failure("FROM scratch\nMEMORY 2g\n")).toMatchObject({ code: "DOCKERFILE_AEGIS_INSTRUCTION" });
    expect(failure("FROM scratch\nMEMORY 2\n", "aegisfile")).toMatchObject({ hint: "did you mean 2g?" });
  });
});

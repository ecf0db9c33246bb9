import { describe, expect, test } from "vitest";
import { createIgnoreMatcher } from "../../../src/dockerfile/dockerignore.js";
import { lintDockerfile } from "../../../src/dockerfile/lint/lint.js";
import { parseDockerfile } from "../../../src/dockerfile/parser.js";
import { lint } from "../../conformance/cases/lint.js";
import { readRecording } from "../../conformance/lib/recordings.js";

const recording = readRecording("lint");

describe("what --check says, as the reference builder does", () => {
  test.each(lint)("$name", (item) => {
    const expected = recording[item.name]!;
    if (!("warnings" in expected)) throw new Error("not a recording of a check");
    const ignored = createIgnoreMatcher(["ignored"]);
    const report = lintDockerfile(parseDockerfile(item.dockerfile), {
      isIgnored: ignored.ignores,
      baseImage: () => ({ env: [] }),
    });
    const lines = report.warnings.map(({ rule, message, range }) => [rule, message, range.startLine]);
    // Within a line the reference's order is that of its passes.
    expect(lines.map(String).sort()).toEqual(expected.warnings.map(String).sort());
    expect(lines.map((line) => line[2])).toEqual(expected.warnings.map((line) => line[2]));
  });

  test("nothing is said of variables when the base image is not known", () => {
    expect(lintDockerfile(parseDockerfile("FROM debian\nLABEL a=$SECRET_OF_THE_IMAGE\n")).warnings).toEqual([]);
  });

  test("error=true fails when something is left to say", () => {
    const failed = (check: string) =>
      lintDockerfile(parseDockerfile(`# check=${check}\nFROM scratch\nENV A b\n`)).failed;
    expect([failed("error=true"), failed("error=true;skip=all"), failed("error=false")]).toEqual([true, false, false]);
  });
});

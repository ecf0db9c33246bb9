/** Throws damaged Dockerfiles at the reader, the expander and the rules: whatever they get, they end, and end in a result or a coded error. */
import { createIgnoreMatcher, parseDockerignore } from "../../../src/dockerfile/dockerignore.js";
import { expandInstruction } from "../../../src/dockerfile/expand.js";
import { lintDockerfile } from "../../../src/dockerfile/lint/lint.js";
import { goMatch } from "../../../src/dockerfile/matcher.js";
import { parseDockerfile } from "../../../src/dockerfile/parser.js";
import { AegisError } from "../../../src/support/errors.js";
import { suites } from "../cases/index.js";
import { random } from "./random.js";

// biome-ignore format: one a line would be a screenful
const fragments = [
  "\\\n", "\\", "`", '"', "'", "${", "}", "$", "<<EOF", "<<-", "\nEOF\n", "[", "]", ",", "=", "--", "--mount=type=", "--from=", "#", "# escape=`\n", "\n", "\r\n", "\t", "\u0000",
  "\ufeff", "\u2028", "\ud800", "ONBUILD ", "FROM ", "ARG ", "RUN ", "COPY ", "ENV ", "RENDER /x <<E\n{{ if secret \"x\" }}\nE\n", "SECRET ", "{{", "}}", "*", "**/", "?", "[a-", "!", ":-", "%%", "##", "//", "é", "😀",
] as const;

export interface FuzzResult {
  readonly runs: number;
  readonly accepted: number;
  readonly slowest: number;
}

/**
 * @param limit how many inputs, or until when (epoch milliseconds)
 * @throws when an input makes anything but a result or an AegisError, with the seed and the input in the message
 */
export function fuzz(seed: number, limit: { readonly runs: number } | { readonly until: number }): FuzzResult {
  const next = random(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const corpus = Object.values(suites).flatMap((cases) => cases.map((item) => item.dockerfile));
  const patterns = suites.ignore!.map((item) => String(item.context?.[".dockerignore"]));
  let runs = 0;
  let accepted = 0;
  let slowest = 0;
  const more = () => ("runs" in limit ? runs < limit.runs : Date.now() < limit.until);
  for (; more(); runs++) {
    const text = damage(pick(corpus), pick, next);
    const ignore = damage(pick(patterns), pick, next);
    const started = performance.now();
    try {
      if (tryAll(text)) accepted++;
      tryIgnore(ignore);
    } catch (error) {
      throw new Error(`seed ${seed}, run ${runs}: ${JSON.stringify({ text, ignore })}`, { cause: error });
    }
    slowest = Math.max(slowest, performance.now() - started);
  }
  return { runs, accepted, slowest };
}

function damage(text: string, pick: <T>(list: readonly T[]) => T, next: () => number): string {
  let result = text;
  for (let count = 1 + Math.floor(next() * 6); count > 0; count--) {
    const at = Math.floor(next() * (result.length + 1));
    const length = Math.floor(next() * 8);
    const kind = next();
    if (kind < 0.5) result = result.slice(0, at) + pick(fragments) + result.slice(at);
    else if (kind < 0.75) result = result.slice(0, at) + result.slice(at + length);
    else if (kind < 0.9)
      result = result.slice(0, at) + result.slice(at, at + length).repeat(2) + result.slice(at + length);
    else result = result.slice(0, at) + pick(fragments).repeat(50) + result.slice(at);
  }
  return result;
}

function tryAll(text: string): boolean {
  return coded(() => {
    const file = parseDockerfile(text, { dialect: "aegisfile" });
    for (const instruction of file.stages.flatMap((stage) => stage.instructions)) {
      coded(() => expandInstruction(instruction, (name) => (name.length % 2 ? name : undefined), file));
    }
    coded(() => lintDockerfile(file, { baseImage: () => ({ env: ["A=b"] }) }));
  });
}

function tryIgnore(text: string): void {
  coded(() => {
    const matcher = createIgnoreMatcher(parseDockerignore(text));
    for (const path of ["a", "d/e/f/a", "a b/*/[x]", "é/\n"]) {
      matcher.canSkipDirectory(path, matcher.match(path, undefined));
      matcher.ignores(path);
    }
  });
  coded(() => goMatch(text.trim(), "d/e/f"));
}

/** True when `body` ended well, false when in a coded error; other errors pass. */
function coded(body: () => unknown): boolean {
  try {
    body();
    return true;
  } catch (error) {
    if (error instanceof AegisError) return false;
    throw error;
  }
}

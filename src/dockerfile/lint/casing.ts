/** Rules about how instructions and stages are written, whatever they mean. */
import type { Dockerfile, LintWarning } from "../types.js";

/** One casing for all instructions: the one that most have, upper case when there are as many of both. */
export function checkCasing(dockerfile: Dockerfile): LintWarning[] {
  const written = dockerfile.stages.flatMap((stage) =>
    [stage, ...stage.instructions].map(({ source, range }) => ({ word: /^\s*(\S+)/.exec(source)?.[1] ?? "", range })),
  );
  const isLower = (word: string) => word === word.toLowerCase();
  const isUpper = (word: string) => word === word.toUpperCase();
  const lower = written.filter(({ word }) => isLower(word)).length;
  const upper = written.filter(({ word }) => isUpper(word)).length;
  const [fits, majority] = lower > upper ? [isLower, "lowercase"] : [isUpper, "uppercase"];
  return written
    .filter(({ word }) => !fits(word))
    .map(({ word, range }) => ({
      rule: "ConsistentInstructionCasing",
      message: `Command '${word}' should match the case of the command majority (${majority})`,
      range,
    }));
}

/** A stage's name is its own. */
export function checkDuplicateNames(dockerfile: Dockerfile): LintWarning[] {
  const seen = new Set<string>();
  return dockerfile.stages.flatMap(({ name, range }) => {
    if (name === undefined) return [];
    if (!seen.has(name)) {
      seen.add(name);
      return [];
    }
    const message = `Duplicate stage name ${JSON.stringify(name)}, stage names should be unique`;
    return [{ rule: "DuplicateStageName", message, range }];
  });
}

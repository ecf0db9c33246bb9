/** Rules about FROM lines. */
import { lexWord } from "../shell-lexer.js";
import { nearestVariable } from "../suggest.js";
import type { EscapeCharacter, LintWarning, Stage } from "../types.js";

export interface FromScope {
  /** ARGs before the first FROM with their values, and the platform's. */
  readonly globals: ReadonlyMap<string, string>;
  /** The same with nothing given on the command line. */
  readonly defaults: ReadonlyMap<string, string>;
  /** ARGs before the first FROM, those without a value too. */
  readonly declared: ReadonlySet<string>;
  readonly escape: EscapeCharacter;
}

/** @throws AegisError DOCKERFILE_EXPANSION */
export function checkFrom(stage: Stage, scope: FromScope): LintWarning[] {
  const { range } = stage;
  const warnings: LintWarning[] = [];
  const warn = (rule: string, message: string) => warnings.push({ rule, message, range });
  const image = lexWord(stage.image, (name) => scope.defaults.get(name), { escape: scope.escape });
  if (!isReference(image)) {
    const message = `Default value for ARG ${stage.image} results in empty or invalid base image name`;
    warn("InvalidDefaultArgInFrom", message);
  }
  const variables = [stage.image, stage.platform ?? ""].map((word) => variablesOf(word, scope));
  for (const name of new Set(variables.flatMap(({ unset }) => unset))) {
    const suggested = nearestVariable(name, [...scope.globals.keys()].reverse());
    const hint = suggested === undefined ? "" : ` (did you mean ${suggested}?)`;
    warn("UndefinedArgInFrom", `FROM argument '${name}' is not declared${hint}`);
  }
  if (stage.platform === undefined) return warnings;
  if (/^\$(TARGETPLATFORM|\{TARGETPLATFORM\})$/.test(stage.platform)) {
    const message = `Setting platform to predefined ${stage.platform} in FROM is redundant as this is the default behavior`;
    warn("RedundantTargetPlatform", message);
  } else if (!variables[1]!.any && !namesPlatform(stage)) {
    const message = `FROM --platform flag should not use constant value ${JSON.stringify(stage.platform)}`;
    warn("FromPlatformFlagConstDisallowed", message);
  }
  return warnings;
}

function variablesOf(word: string, scope: FromScope): { readonly any: boolean; readonly unset: readonly string[] } {
  const unset: string[] = [];
  let any = false;
  const onVariable = (name: string, isSet: boolean): void => {
    any = true;
    if (!isSet && !scope.declared.has(name)) unset.push(name);
  };
  lexWord(word, (name) => scope.globals.get(name), { escape: scope.escape, onVariable });
  return { any, unset };
}

/** A stage that is called after its platform may well name it. */
function namesPlatform(stage: Stage): boolean {
  const [os, architecture] = (stage.platform ?? "").split("/");
  return [os, architecture].some((word) => word && stage.name?.includes(word));
}

/** Whether the text is the name of an image, as the distribution project writes its grammar (reference.go), lower-case repository and all. */
function isReference(text: string): boolean {
  const domain =
    /^(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?))*|\[[0-9a-fA-F:]+\])(?::\d+)?$/;
  const name = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
  const match =
    /^([^@]*?)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$/.exec(
      text,
    );
  if (!match || text.length > 4096) return false;
  const [first, ...rest] = match[1]!.split("/");
  const hasDomain = rest.length > 0 && (/[.:]/.test(first!) || first === "localhost" || first !== first!.toLowerCase());
  if (hasDomain) return domain.test(first!) && name.test(rest.join("/"));
  return name.test(match[1]!);
}

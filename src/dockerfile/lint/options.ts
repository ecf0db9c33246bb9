/** The `# check=` directive: which rules are left out, and whether warnings fail the build. */
import { parseBoolean } from "../../support/booleans.js";
import { Fault } from "../errors.js";
import { suggestion } from "../suggest.js";
import { cut, trimSpace } from "../text.js";
import type { LintWarning } from "../types.js";

/** Rules by name, or all. */
type Rules = "all" | readonly string[];

export interface CheckOptions {
  readonly skip: Rules;
  /** Rules that are off unless they are asked for here. */
  readonly experimental: Rules;
  /** A warning that is not left out fails the build. */
  readonly error: boolean;
}

const experimentalRules = ["CopyIgnoredFile", "InvalidDefinitionDescription"];

/**
 * Reads `skip=RuleA,RuleB;error=true;experimental=all`. As in the reference a blank after a comma is part of the name.
 * @throws Fault
 */
export function parseCheckOptions(text: string | undefined): CheckOptions {
  const options: { -readonly [K in keyof CheckOptions]: CheckOptions[K] } = {
    skip: [],
    experimental: [],
    error: false,
  };
  for (const part of text === undefined || trimSpace(text) === "" ? [] : text.split(";")) {
    const [rawKey, rawValue] = cut(part, "=");
    const key = trimSpace(rawKey);
    const value = trimSpace(rawValue ?? "");
    if (rawValue === undefined || (key !== "skip" && key !== "experimental" && key !== "error")) {
      const known = "write skip=RuleName,OtherRule or error=true, divided by semicolons";
      const hint = suggestion(key, ["skip", "error", "experimental"], known);
      throw new Fault(`invalid check option "${trimSpace(part)}"`, { hint, at: part });
    }
    if (key !== "error") {
      options[key] = value === "all" ? "all" : rawValue.split(",");
      continue;
    }
    const truth = parseBoolean(value.toLowerCase());
    if (truth === undefined)
      throw new Fault(`check option error is either true or false, not "${value}"`, { at: part });
    options.error = truth;
  }
  return options;
}

/** Whether a warning is to be shown under these options. */
export function isEnabled(warning: LintWarning, options: CheckOptions): boolean {
  if (names(options.skip, warning.rule)) return false;
  return !experimentalRules.includes(warning.rule) || names(options.experimental, warning.rule);
}

const names = (rules: Rules, rule: string): boolean => rules === "all" || rules.includes(rule);

/** The `# check=` directive: which rules are left out, and whether warnings fail the build. */
import { Fault } from "../errors.js";
import { suggestion } from "../suggest.js";
import { cut, trimSpace } from "../text.js";

export interface CheckOptions {
  /** Rules by name, or all. */
  readonly skip: "all" | readonly string[];
  /** A warning that is not left out fails the build. */
  readonly error: boolean;
}

/**
 * Reads `skip=RuleA,RuleB;error=true`; `experimental=` is accepted: none of the rules here is.
 * @throws Fault
 */
export function parseCheckOptions(text: string | undefined): CheckOptions {
  let skip: CheckOptions["skip"] = [];
  let error = false;
  for (const part of trimSpace(text ?? "") === "" ? [] : text!.split(";")) {
    const [key, raw] = cut(part, "=").map((piece) => piece && trimSpace(piece)) as [string, string | undefined];
    if (raw === undefined || !["skip", "error", "experimental"].includes(key)) {
      const hint = suggestion(
        key,
        ["skip", "error"],
        "write skip=RuleName,OtherRule or error=true, divided by semicolons",
      );
      throw new Fault(`invalid check option "${part}"`, { hint, at: part });
    }
    if (key === "skip") skip = raw === "all" ? "all" : raw.split(",").map(trimSpace);
    else if (key === "error") error = checkBoolean(raw, part);
  }
  return { skip, error };
}

function checkBoolean(value: string, part: string): boolean {
  if (/^(1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  throw new Fault(`check option error is either true or false, not "${value}"`, { at: part });
}

/** `--chmod`: octal, or symbolic as chmod(1) has it. */
import { AegisError } from "../../support/errors.js";

export interface ModeChange {
  /** Set for an octal mode, which also holds for directories made on the way. */
  readonly octal: number | undefined;
  apply(mode: number, directory: boolean): number;
}

const classes: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 };
const rights: Readonly<Record<string, number>> = { r: 0o444, w: 0o222, x: 0o111, s: 0o6000, t: 0o1000 };

/** @throws AegisError BAD_MODE */
export function parseMode(text: string): ModeChange {
  if (/^[0-7]{1,5}$/.test(text) && Number.parseInt(text, 8) <= 0o7777) {
    const octal = Number.parseInt(text, 8);
    return { octal, apply: () => octal };
  }
  const clauses = text.split(",").map((clause) => parseClause(clause, text));
  return {
    octal: undefined,
    apply: (mode, directory) => clauses.reduce((now, clause) => clause(now, directory), mode),
  };
}

function parseClause(clause: string, text: string): (mode: number, directory: boolean) => number {
  const match = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(clause);
  if (!match) {
    throw new AegisError("BAD_MODE", `"${text}" is not a file mode`, {
      hint: "write it like 0755, 644 or u=rwX,go=rX",
    });
  }
  const who = [...(match[1] || "a")].reduce((bits, letter) => bits | classes[letter]!, 0);
  const actions = [...match[2]!.matchAll(/([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)/g)];
  return (mode, directory) => {
    let now = mode;
    for (const [, operator, what] of actions) {
      const bits = bitsOf(what!, now, directory) & who;
      if (operator === "+") now |= bits;
      else if (operator === "-") now &= ~bits;
      else now = (now & ~(who & 0o777) & ~(who & 0o7000 & ~(directory ? 0o6000 : 0))) | bits;
    }
    return now;
  };
}

function bitsOf(what: string, mode: number, directory: boolean): number {
  if (/^[ugo]$/.test(what)) {
    const shift = { u: 6, g: 3, o: 0 }[what as "u" | "g" | "o"];
    return ((mode >> shift) & 7) * 0o111;
  }
  let bits = 0;
  for (const letter of what) {
    if (letter === "X") bits |= directory || (mode & 0o111) !== 0 ? 0o111 : 0;
    else bits |= rights[letter]!;
  }
  return bits;
}

/** `--chmod`: octal, or symbolic by the rules of BSD's setmode(3), which the reference follows. */
import { AegisError } from "../../support/errors.js";

export interface ModeChange {
  /** Set for an octal mode, which also holds for directories made on the way. */
  readonly octal: number | undefined;
  apply(mode: number, directory: boolean): number;
}

const classes: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o0007, a: 0o6777 };
const rights: Readonly<Record<string, number>> = { r: 0o444, w: 0o222, x: 0o111 };
const shifts: Readonly<Record<string, number>> = { u: 6, g: 3, o: 0 };
const sticky = 0o1000;
const setIds = 0o6000;

/** @throws AegisError BAD_MODE */
export function parseMode(text: string): ModeChange {
  if (/^[0-7]+$/.test(text) && Number.parseInt(text, 8) <= 0o7777) {
    const octal = Number.parseInt(text, 8);
    return { octal, apply: () => octal };
  }
  const clauses = text.split(",").map((clause) => parseClause(clause, text));
  return {
    octal: undefined,
    apply: (mode, directory) => clauses.reduce((now, clause) => clause(now, mode, directory), mode),
  };
}

/** The mode so far, the one that the file had, and whether it is a directory. */
type Clause = (now: number, before: number, directory: boolean) => number;

function parseClause(clause: string, text: string): Clause {
  const match = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(clause);
  if (!match) {
    throw new AegisError("BAD_MODE", `"${text}" is not a file mode`, {
      hint: "write it like 0755, 644 or u=rwX,go=rX",
    });
  }
  const named = [...match[1]!].reduce((bits, letter) => bits | classes[letter]!, 0);
  const actions = [...match[2]!.matchAll(/([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)/g)].map(([, operator, what]) =>
    /^[ugo]$/.test(what!) ? copyAction(operator!, what!, named) : rightsAction(operator!, what!, named),
  );
  return (now, before, directory) => actions.reduce((mode, action) => action(mode, before, directory), now);
}

function rightsAction(operator: string, what: string, named: number): Clause {
  // Others have neither a set-id bit nor the sticky one; to name the sticky bit is to mean it, and without a class nothing else.
  const special = named !== classes.o;
  const who = (what.includes("t") && special ? named | sticky : named) || classes.a!;
  let bits = 0;
  for (const letter of what) {
    if (letter === "s") bits |= special ? setIds : 0;
    else if (letter === "t") bits |= special ? sticky : 0;
    else bits |= rights[letter] ?? 0;
  }
  const conditional = what.includes("X");
  return (now, before, directory) => {
    const executable = conditional && (directory || (before & 0o111) !== 0) ? 0o111 : 0;
    return changed(now, operator, (bits | executable) & who, who);
  };
}

/** `g=u`: only the nine rights are copied and replaced. */
function copyAction(operator: string, from: string, named: number): Clause {
  const who = (named || classes.a!) & 0o777;
  return (now) => changed(now, operator, (((now >> shifts[from]!) & 7) * 0o111) & who, who);
}

function changed(now: number, operator: string, chosen: number, who: number): number {
  if (operator === "-") return now & ~chosen;
  return operator === "+" ? now | chosen : (now & ~who) | chosen;
}

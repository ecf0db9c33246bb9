/** RUN, its flags, and the command line that its here-documents and shell make of it. */
import { Fault } from "../errors.js";
import { readFlags } from "../flags.js";
import { heredocMark } from "../heredoc.js";
import type { Statement } from "../statements.js";
import { suggestion } from "../suggest.js";
import type { InstructionOf } from "../types.js";
import { unexpandedMount } from "./mounts.js";
import { commandOf } from "./reader.js";

const flagTable = { mount: "list", network: "text", security: "text", device: "list" } as const;
const networks = ["default", "none", "host"] as const;
const securities = ["sandbox", "insecure"] as const;

export function readRun(statement: Statement): Omit<InstructionOf<"RUN">, "range" | "source"> {
  const flags = readFlags(statement.flags, flagTable, "RUN");
  return {
    kind: "RUN",
    command: commandOf(statement.rest),
    heredocs: statement.heredocs,
    mounts: flags.list("mount").map(unexpandedMount),
    network: oneOf(flags.text("network"), networks, "network"),
    security: oneOf(flags.text("security"), securities, "security"),
    devices: flags.list("device"),
  };
}

function oneOf<T extends string>(value: string | undefined, allowed: readonly [T, ...T[]], flag: string): T {
  if (value === undefined || value === "") return allowed[0];
  const found = allowed.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new Fault(`--${flag}=${value} is not supported`, {
    hint: suggestion(value, allowed, `it is one of ${allowed.join(", ")}`),
    at: `--${flag}`,
  });
}

export interface RunCommandLine {
  readonly argv: readonly string[];
  /** A script that must be there, read-only and executable, while the command runs. */
  readonly script?: { readonly directory: "/dev/pipes"; readonly name: string; readonly content: string };
}

/**
 * What RUN executes. The shell form goes behind `shell` (the stage's SHELL). A here-document alone on the line is the script itself: it is
 * run by `shell`, or, if it starts with `#!`, put into a file that `shell` runs. Otherwise the here-documents are left to the shell.
 */
export function runCommandLine(run: InstructionOf<"RUN">, shell: readonly string[]): RunCommandLine {
  if (run.command.form === "exec") return { argv: run.command.argv };
  const { text } = run.command;
  const [first] = run.heredocs;
  if (first === undefined) return { argv: [...shell, text] };
  if (!heredocMark(text)) {
    const whole = run.heredocs.reduce((line, heredoc) => `${line}\n${heredoc.raw}${heredoc.name}`, text);
    return { argv: [...shell, whole] };
  }
  if (!first.raw.startsWith("#!")) return { argv: [...shell, first.content] };
  return {
    argv: [...shell, `/dev/pipes/${first.name}`],
    script: { directory: "/dev/pipes", name: first.name, content: first.content },
  };
}

/** What the user is told when a RUN fails: the step, its lines in the file, the exit status, the end of its output. */
import { AegisError } from "../../support/errors.js";
import { terminalText } from "../../support/terminal-text.js";
import type { RunOutcome } from "../executors/types.js";

/** The last lines of a step's output, as they may be shown on a terminal. */
export class LogTail {
  #text = "";

  push(chunk: Uint8Array): void {
    this.#text = (this.#text + Buffer.from(chunk).toString("utf8")).slice(-16_384);
  }

  lines(count: number): readonly string[] {
    return this.#text.replace(/\n$/, "").split("\n").slice(-count).map(terminalText);
  }
}

export interface FailedRun {
  readonly command: string;
  readonly excerpt: string;
  readonly startLine: number;
}

export function runFailed(run: FailedRun, outcome: RunOutcome, tail: LogTail): AegisError {
  const { exitCode, oomKilled, startError } = outcome;
  const why = startError ?? (oomKilled ? "it ran out of memory" : `exit code ${exitCode}`);
  const lines = tail.lines(20).filter((line, i) => line !== "" || i > 0);
  const output = lines.length === 0 ? [] : ["------", ` > ${run.command}:`, ...lines, "------"];
  return new AegisError("RUN_FAILED", `RUN "${shortened(run.command)}" did not complete successfully: ${why}`, {
    exitCode: 1,
    context: [...output, run.excerpt].join("\n"),
    hint: hintFor(outcome),
    details: { exitCode, line: run.startLine, command: run.command },
  });
}

function hintFor({ exitCode, oomKilled, startError }: RunOutcome): string {
  if (oomKilled || exitCode === 137) return "give build steps more memory: --memory 4g";
  if (startError !== undefined)
    return "check that the program is in the image and can be executed; shell form needs /bin/sh";
  if (exitCode === 127) return "a command was not found: install it in an earlier step, or check PATH";
  if (exitCode === 126) return "a file was found but can't be executed: check its mode and its #! line";
  return "the lines above are the end of the step's output; earlier steps are cached, so building again is quick";
}

const shortened = (text: string): string => (text.length > 120 ? `${text.slice(0, 117)}...` : text);

/** How an app ended, as a status and, where that does not say it all, one line of why. */
import type { GuestEvent, ProcessExit, StartError } from "../guest/types.js";
import { formatSize } from "../support/sizes.js";
import { signalName } from "./signals.js";

export interface ExitStory {
  /** The app's own, 126 and 127 as Docker has them, 128+n for a signal. */
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly reason?: string | undefined;
}

type OomEvent = Extract<GuestEvent, { type: "oom" }>;

/**
 * @param oom the last process that the guest's OOM killer took, if any
 */
export function explainExit(
  exit: ProcessExit,
  machine: {
    readonly program: string;
    readonly memoryBytes: number;
    readonly oom?: OomEvent | undefined;
    /** What was told of a full disk, if one was. */
    readonly full?: string | undefined;
  },
): ExitStory {
  const { startError } = exit;
  if (startError) return { ...explainStart(startError), oomKilled: false };
  const exitCode = exit.signal === undefined ? (exit.code ?? 255) : 128 + exit.signal;
  const { oom } = machine;
  if (exit.oomKilled || (oom && exitCode !== 0)) {
    const who = oom ? `${oom.name} (pid ${oom.pid}, ${formatSize(oom.rssBytes)} resident)` : machine.program;
    const more = suggestMemory(machine.memoryBytes);
    return {
      exitCode,
      oomKilled: true,
      reason: `out of memory: the guest's kernel killed ${who}; the machine has ${mebibytes(machine.memoryBytes)}, run it with --memory ${more}`,
    };
  }
  if (machine.full !== undefined && exit.signal === undefined && exitCode !== 0) {
    return { exitCode, oomKilled: false, reason: machine.full };
  }
  if (exit.signal !== undefined) {
    return { exitCode, oomKilled: false, reason: `${machine.program} was ended by ${signalName(exit.signal)}` };
  }
  return { exitCode, oomKilled: false };
}

/** One line about a writable disk without room, `what` says which. */
export function explainFullDisk(what: string, bytes: number): string {
  return `${what} is full (${mebibytes(bytes)}): free some of it, or run it with --disk ${larger(bytes)}`;
}

function explainStart(error: StartError): { exitCode: number; reason: string } {
  const { errno, path, interpreter, stage } = error;
  switch (stage) {
    case "user":
    case "group":
      return {
        exitCode: 126,
        reason: `there is no ${stage} ${path} in the image's /etc/${stage === "user" ? "passwd" : "group"}`,
      };
    case "cwd":
      return { exitCode: 126, reason: `the working directory ${path} can't be entered: ${errno}` };
    case "limit":
    case "sandbox":
      return { exitCode: 126, reason: `${path}: ${errno}` };
  }
  if (errno === "ENOENT" && interpreter) {
    return { exitCode: 127, reason: `${path} needs the interpreter ${interpreter}, which is not in the image` };
  }
  if (errno === "ENOENT") return { exitCode: 127, reason: `${path} is not in the image (or not in its PATH)` };
  if (errno === "EACCES") {
    return { exitCode: 126, reason: `${path} is not executable (chmod +x it, or check its directories)` };
  }
  if (errno === "ENOEXEC") {
    return {
      exitCode: 126,
      reason: `${path} is in no format that this machine runs: another architecture, or a script without its #! line`,
    };
  }
  return { exitCode: 126, reason: `${path} could not be started: ${errno}` };
}

const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;

const suggestMemory = (bytes: number) => larger(Math.max(bytes, 2 ** 29));

/** Twice as much, as a flag takes it. */
function larger(bytes: number): string {
  const doubled = 2 ** Math.ceil(Math.log2(bytes * 2));
  return doubled % 2 ** 30 === 0 ? `${doubled / 2 ** 30}g` : `${Math.ceil(doubled / 2 ** 20)}m`;
}

/** Draws a build's events: live on a terminal, as plain lines elsewhere, not at all when quiet. */
import { StringDecoder } from "node:string_decoder";
import type { BuildEvent, Report } from "../../build/types.js";
import { terminalText } from "../../support/terminal-text.js";

export type ProgressMode = "auto" | "plain" | "tty" | "quiet" | "none" | "rawjson";

export interface Reporter {
  readonly report: Report;
  /** Puts the terminal back in order; nothing is drawn afterwards. */
  end(failed: boolean): Promise<void>;
}

export interface ReporterStream {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

/** A reporter for what the user asked for; the live one is loaded only when it is used. */
export async function createReporter(mode: ProgressMode, stream: ReporterStream): Promise<Reporter> {
  if (mode === "quiet" || mode === "none") return { report: () => undefined, end: async () => undefined };
  if (mode === "rawjson") return (await import("./raw-progress.js")).rawJsonReporter(stream);
  const live = mode === "tty" || (mode === "auto" && stream.isTTY);
  return withSummary(live ? (await import("./live-progress.js")).liveReporter(stream) : plainReporter(stream), stream);
}

/** What the rules of `--check` say comes together at the end, where it is seen. */
function withSummary(reporter: Reporter, stream: ReporterStream): Reporter {
  const found: Extract<BuildEvent, { type: "warning" }>[] = [];
  let ended = false;
  return {
    report: (event) => {
      if (event.type === "warning" && event.rule !== undefined) found.push(event);
      else reporter.report(event);
    },
    end: async (failed) => {
      await reporter.end(failed);
      if (ended || found.length === 0) return;
      ended = true;
      const title = `${found.length} ${found.length === 1 ? "warning" : "warnings"} found (use --check to expand):`;
      const shown = stream.isTTY && !process.env.NO_COLOR ? `\u001b[33m${title}\u001b[0m` : title;
      stream.write(`\n ${shown}\n${found.map((it) => ` - ${warningText(it)}\n`).join("")}`);
    },
  };
}

interface PlainStep {
  readonly title: string;
  readonly since: number;
  readonly partial: { stdout: string; stderr: string };
  /** A character may come in two pieces. */
  readonly decoders: { readonly stdout: StringDecoder; readonly stderr: StringDecoder };
}

/** Lines as BuildKit's `--progress=plain` prints them: `#3 [2/4] RUN make`, `#3 0.512 output`, `#3 DONE 1.2s`. */
export function plainReporter(stream: ReporterStream): Reporter {
  const steps = new Map<number, PlainStep>();
  // A file keeps what the step wrote; a terminal would obey it.
  const shown = (text: string) => (stream.isTTY ? terminalText(text) : text);
  let last: number | undefined;
  const line = (step: number, text: string) => {
    if (last !== undefined && last !== step) stream.write("\n");
    if (last !== step && last !== undefined && steps.has(step) && !text.startsWith("[")) {
      const title = steps.get(step)!.title;
      if (text !== title) stream.write(`#${step} ${title}\n`);
    }
    last = step;
    stream.write(`#${step} ${text}\n`);
  };
  const report = (event: BuildEvent): void => {
    switch (event.type) {
      case "started":
        steps.set(event.step, {
          title: event.title,
          since: performance.now(),
          partial: { stdout: "", stderr: "" },
          decoders: { stdout: new StringDecoder(), stderr: new StringDecoder() },
        });
        line(event.step, event.title);
        return;
      case "output": {
        const step = steps.get(event.step)!;
        const lines = (step.partial[event.stream] + decoded(step, event)).split("\n");
        step.partial[event.stream] = lines.pop() ?? "";
        const at = ((performance.now() - step.since) / 1000).toFixed(3);
        for (const text of lines) line(event.step, `${at} ${shown(text)}`);
        return;
      }
      case "note":
        line(event.step, event.text);
        return;
      case "finished":
        flush(event.step);
        line(event.step, event.cached ? "CACHED" : `DONE ${(event.ms / 1000).toFixed(1)}s`);
        return;
      case "failed":
        flush(event.step);
        line(event.step, event.canceled ? "CANCELED" : `ERROR: ${event.message}`);
        return;
      case "warning":
        stream.write(`WARN: ${warningText(event)}\n`);
    }
  };
  const flush = (number: number): void => {
    const step = steps.get(number);
    for (const name of ["stdout", "stderr"] as const) {
      const text = step?.partial[name];
      if (!step || !text) continue;
      step.partial[name] = "";
      line(number, `${((performance.now() - step.since) / 1000).toFixed(3)} ${shown(text)}`);
    }
  };
  return { report, end: async () => undefined };
}

const decoded = (step: PlainStep, { stream, chunk }: Extract<BuildEvent, { type: "output" }>): string =>
  step.decoders[stream].write(Buffer.from(chunk));

export function warningText({ rule, text, line }: Extract<BuildEvent, { type: "warning" }>): string {
  return `${rule === undefined ? "" : `${rule}: `}${text}${line === undefined ? "" : ` (line ${line})`}`;
}

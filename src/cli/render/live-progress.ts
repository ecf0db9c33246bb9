/**
 * The live view of a build: finished steps scroll up as lines, running ones stay at the bottom with their time and the last
 * lines of their output.
 */
import { StringDecoder } from "node:string_decoder";
import type { BuildEvent } from "../../build/types.js";
import { terminalText } from "../../support/terminal-text.js";
import { type Reporter, type ReporterStream, warningText } from "./progress.js";

interface LiveStep {
  readonly title: string;
  readonly since: number;
  lines: readonly string[];
  partial: string;
  readonly decoder: StringDecoder;
}

const shownLines = 4;
const interval = 100;

interface Terminal extends ReporterStream {
  readonly columns?: number;
  readonly rows?: number;
}

export function liveReporter(stream: Terminal): Reporter {
  const running = new Map<number, LiveStep>();
  let drawn = 0;
  let timer: NodeJS.Timeout | undefined;
  const width = () => Math.max(20, stream.columns ?? 80);
  const color = (code: number, text: string) => (process.env.NO_COLOR ? text : `\u001b[${code}m${text}\u001b[0m`);

  /** Lines of the steps that run, no more than the terminal has: what has scrolled off can't be taken back. */
  const lines = (): readonly string[] => {
    const room = Math.max(2, (stream.rows ?? 24) - 1);
    const steps = [...running.values()];
    const shown = steps.length <= room ? steps : steps.slice(0, room - 1);
    const outputs = Math.max(0, Math.min(shownLines, Math.floor(room / shown.length) - 1));
    const found = shown.flatMap((step) => {
      const time = `${((performance.now() - step.since) / 1000).toFixed(1)}s`;
      const partial = terminalText(step.partial);
      const output = [...step.lines, ...(partial === "" ? [] : [partial])];
      return [
        color(34, ` => ${clipped(step.title, width() - time.length - 6)} ${time}`),
        ...output
          .slice(output.length - Math.min(outputs, output.length))
          .map((text) => color(2, ` =>   ${clipped(text, width() - 8)}`)),
      ];
    });
    return shown.length === steps.length ? found : [...found, ` => and ${steps.length - shown.length} more`];
  };
  /**
   * In one write and over what is there, so that nothing flickers and no terminal takes it for a cleared screen worth keeping; without
   * wrapping, so that a line is a line however wide its characters are.
   */
  const draw = (above = "", below = lines()) => {
    const up = drawn > 0 ? `\u001b[${drawn}A` : "";
    const text = below.length > 0 ? `\u001b[?7l${below.map((line) => `${line}\u001b[K\n`).join("")}\u001b[?7h` : "";
    const rest = drawn > 0 ? "\u001b[0J" : "";
    drawn = below.length;
    if (up + above + text !== "") stream.write(up + above + text + rest);
  };
  const permanent = (text: string) => draw(`${text}\u001b[K\n`);

  const report = (event: BuildEvent): void => {
    switch (event.type) {
      case "started":
        running.set(event.step, {
          title: terminalText(event.title),
          since: performance.now(),
          lines: [],
          partial: "",
          decoder: new StringDecoder(),
        });
        timer ??= setInterval(() => draw(), interval).unref();
        draw();
        return;
      case "output": {
        const step = running.get(event.step);
        if (!step) return;
        const found = (step.partial + step.decoder.write(Buffer.from(event.chunk))).split("\n");
        step.partial = (found.pop() ?? "").slice(-longestPartial);
        step.lines = [...step.lines, ...found.slice(-shownLines).map(terminalText)].slice(-shownLines);
        return;
      }
      case "note": {
        const step = running.get(event.step);
        if (step) step.lines = [...step.lines, terminalText(event.text)].slice(-shownLines);
        return;
      }
      case "finished": {
        const title = running.get(event.step)?.title ?? "";
        running.delete(event.step);
        const time = event.cached ? "CACHED" : `${(event.ms / 1000).toFixed(1)}s`;
        permanent(` ${color(32, "✓")} ${clipped(title, width() - time.length - 6)} ${time}`);
        return;
      }
      case "failed": {
        const title = running.get(event.step)?.title ?? "";
        running.delete(event.step);
        permanent(` ${color(31, "✗")} ${clipped(title, width() - 14)}${event.canceled ? " CANCELED" : ""}`);
        return;
      }
      case "warning":
        permanent(` ${color(33, "!")} ${terminalText(warningText(event))}`);
        return;
    }
  };
  return {
    report,
    end: async () => {
      if (timer) clearInterval(timer);
      draw("", []);
    },
  };
}

const longestPartial = 4096;

/** At most so many characters, the last one a mark when some are missing; never half of one. */
const clipped = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, Math.max(0, length - 1)).replace(/[\ud800-\udbff]$/, "")}…` : text;

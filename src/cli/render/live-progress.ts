/**
 * The live view of a build: finished steps scroll up as lines, running ones stay at the bottom with their time and the last
 * lines of their output.
 */
import type { BuildEvent } from "../../build/types.js";
import { type Reporter, type ReporterStream, warningText } from "./progress.js";

interface LiveStep {
  readonly title: string;
  readonly since: number;
  lines: readonly string[];
  partial: string;
}

const shownLines = 4;
const interval = 100;

export function liveReporter(stream: ReporterStream & { readonly columns?: number }): Reporter {
  const running = new Map<number, LiveStep>();
  let drawn = 0;
  let timer: NodeJS.Timeout | undefined;
  const width = () => Math.max(20, stream.columns ?? 80);
  const clip = (text: string) => (text.length > width() - 1 ? `${text.slice(0, width() - 2)}…` : text);
  const color = (code: number, text: string) => (process.env.NO_COLOR ? text : `\u001b[${code}m${text}\u001b[0m`);

  const erase = () => {
    if (drawn > 0) stream.write(`\u001b[${drawn}A\u001b[0J`);
    drawn = 0;
  };
  const draw = () => {
    const lines: string[] = [];
    for (const step of running.values()) {
      const time = `${((performance.now() - step.since) / 1000).toFixed(1)}s`;
      lines.push(color(34, clip(` => ${step.title.slice(0, width() - time.length - 6)} ${time}`)));
      for (const text of step.lines) lines.push(color(2, clip(` =>   ${text}`)));
    }
    stream.write(lines.map((line) => `${line}\n`).join(""));
    drawn = lines.length;
  };
  const redraw = () => {
    erase();
    draw();
  };
  const permanent = (text: string) => {
    erase();
    stream.write(`${text}\n`);
    draw();
  };

  const report = (event: BuildEvent): void => {
    switch (event.type) {
      case "started":
        running.set(event.step, { title: clean(event.title), since: performance.now(), lines: [], partial: "" });
        timer ??= setInterval(redraw, interval).unref();
        redraw();
        return;
      case "output": {
        const step = running.get(event.step);
        if (!step) return;
        const lines = (step.partial + Buffer.from(event.chunk).toString("utf8")).split(/\r?\n/);
        step.partial = lines.pop() ?? "";
        step.lines = [...step.lines, ...lines.map(clean)].slice(-shownLines);
        return;
      }
      case "note": {
        const step = running.get(event.step);
        if (step) step.lines = [...step.lines, clean(event.text)].slice(-shownLines);
        return;
      }
      case "finished": {
        const title = running.get(event.step)?.title ?? "";
        running.delete(event.step);
        const time = event.cached ? "CACHED" : `${(event.ms / 1000).toFixed(1)}s`;
        permanent(` ${color(32, "✓")} ${title.slice(0, width() - time.length - 6)} ${time}`);
        return;
      }
      case "failed": {
        const title = running.get(event.step)?.title ?? "";
        running.delete(event.step);
        permanent(` ${color(31, "✗")} ${clip(title)}${event.canceled ? " CANCELED" : ""}`);
        return;
      }
      case "warning":
        permanent(` ${color(33, "!")} ${warningText(event)}`);
        return;
    }
  };
  return {
    report,
    end: async () => {
      if (timer) clearInterval(timer);
      erase();
    },
  };
}

/** Programs may print anything; what moves the cursor or colours the terminal is dropped. */
const clean = (text: string): string =>
  text
    .slice(text.lastIndexOf("\r", text.length - 2) + 1)
    .replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, "")
    .replace(/\t/g, "    ")
    .replace(/[\u0000-\u001f\u007f]/g, "");

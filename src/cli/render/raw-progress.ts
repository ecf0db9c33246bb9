/**
 * `--progress=rawjson`: one JSON object a line, in the shape of BuildKit's SolveStatus, so that programs which read one builder's
 * progress read the other's. A step is a vertex; its output are logs, its notes statuses.
 */
import { createHash } from "node:crypto";
import type { BuildEvent } from "../../build/types.js";
import { type Reporter, type ReporterStream, warningText } from "./progress.js";

interface Vertex {
  readonly digest: string;
  readonly name: string;
  readonly started: string;
}

export function rawJsonReporter(stream: ReporterStream): Reporter {
  const vertices = new Map<number, Vertex>();
  const now = () => new Date().toISOString();
  const put = (status: object) => stream.write(`${JSON.stringify(status)}\n`);
  const end = (step: number, outcome: object) => {
    put({ vertexes: [{ ...vertices.get(step), completed: now(), ...outcome }] });
  };
  const report = (event: BuildEvent): void => {
    switch (event.type) {
      case "started": {
        const vertex = { digest: digestOf(event), name: event.title, started: now() };
        vertices.set(event.step, vertex);
        put({ vertexes: [vertex] });
        return;
      }
      case "output": {
        const vertex = vertices.get(event.step)?.digest;
        const data = Buffer.from(event.chunk).toString("base64");
        put({ logs: [{ vertex, stream: event.stream === "stdout" ? 1 : 2, data, timestamp: now() }] });
        return;
      }
      case "note": {
        const at = now();
        const vertex = vertices.get(event.step)?.digest;
        put({ statuses: [{ id: event.text, vertex, current: 0, timestamp: at, started: at, completed: at }] });
        return;
      }
      case "finished":
        end(event.step, event.cached ? { cached: true } : {});
        return;
      case "failed":
        end(event.step, { error: event.canceled ? "context canceled" : event.message });
        return;
      case "warning": {
        const line = event.line === undefined ? undefined : { line: event.line };
        const short = Buffer.from(warningText(event)).toString("base64");
        put({ warnings: [{ level: 1, short, ...(line && { range: [{ start: line, end: line }] }) }] });
      }
    }
  };
  return { report, end: async () => undefined };
}

/** Tells the vertices of one build apart. */
const digestOf = ({ step, title }: Extract<BuildEvent, { type: "started" }>): string =>
  `sha256:${createHash("sha256").update(`${step} ${title}`).digest("hex")}`;

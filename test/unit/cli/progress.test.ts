import { describe, expect, it } from "vitest";
import { Progress } from "../../../src/build/progress.js";
import { createReporter, plainReporter } from "../../../src/cli/render/progress.js";

it("raw progress has the shape of BuildKit's", async () => {
  const lines: { readonly [kind: string]: readonly Readonly<Record<string, unknown>>[] }[] = [];
  const reporter = await createReporter("rawjson", { write: (part) => lines.push(JSON.parse(part)) });
  const progress = new Progress(reporter.report);
  const step = progress.start("[1/1] RUN make");
  step.output("stderr", Buffer.from("no rule\n"));
  progress.warn({ rule: "UndefinedVar", text: "Usage", line: 7 });
  step.failed(new Error("exit code: 1"));
  progress.start("exporting").done(true);
  const vertices = lines.flatMap((line) => line.vertexes ?? []);
  const [make, exporting] = [...new Set(vertices.map(({ digest }) => digest))];
  const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  expect(make).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(lines).toEqual([
    { vertexes: [{ digest: make, name: "[1/1] RUN make", started: time }] },
    { logs: [{ vertex: make, stream: 2, data: "bm8gcnVsZQo=", timestamp: time }] },
    {
      warnings: [
        {
          level: 1,
          short: Buffer.from("UndefinedVar: Usage (line 7)").toString("base64"),
          range: [{ start: { line: 7 }, end: { line: 7 } }],
        },
      ],
    },
    { vertexes: [{ digest: make, name: "[1/1] RUN make", started: time, completed: time, error: "exit code: 1" }] },
    { vertexes: [{ digest: exporting, name: "exporting", started: time }] },
    { vertexes: [{ digest: exporting, name: "exporting", started: time, completed: time, cached: true }] },
  ]);
});

describe("plain progress", () => {
  it("puts a character together that came in two pieces", () => {
    let text = "";
    const progress = new Progress(plainReporter({ write: (part) => (text += part) }).report);
    const step = progress.start("[1/1] RUN make");
    const bytes = Buffer.from("ü\n");
    step.output("stdout", bytes.subarray(0, 1));
    step.output("stdout", bytes.subarray(1));
    expect(text).toMatch(/ ü\n$/);
  });

  it("numbers steps, names the one that a line belongs to, and keeps lines whole", () => {
    let text = "";
    const progress = new Progress(plainReporter({ write: (part) => (text += part) }).report);
    const one = progress.start("[1/2] RUN make");
    const two = progress.start("[2/2] COPY a b");
    one.output("stdout", Buffer.from("first li"));
    two.done(true);
    one.output("stdout", Buffer.from("ne\nlast"));
    one.failed(new Error("no"));
    expect(text.replace(/\d+\.\d{3}/g, "0.000")).toBe(
      [
        "#1 [1/2] RUN make",
        "",
        "#2 [2/2] COPY a b",
        "#2 CACHED",
        "",
        "#1 [1/2] RUN make",
        "#1 0.000 first line",
        "#1 0.000 last",
        "#1 ERROR: no",
        "",
      ].join("\n"),
    );
  });

  it("collects what the rules say, and shows it once at the end", async () => {
    let text = "";
    const reporter = await createReporter("plain", { write: (part) => (text += part) });
    const progress = new Progress(reporter.report);
    progress.warn({ rule: "UndefinedVar", text: "Usage of undefined variable '$X'", line: 7 });
    progress.start("[1/1] COPY a b").done();
    await reporter.end(false);
    expect(text.replace(/\d+\.\ds/, "0.0s")).toBe(
      "#1 [1/1] COPY a b\n#1 DONE 0.0s\n\n 1 warning found (use --check to expand):\n" +
        " - UndefinedVar: Usage of undefined variable '$X' (line 7)\n",
    );
  });
});

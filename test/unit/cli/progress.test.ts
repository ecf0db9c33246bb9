import { describe, expect, it } from "vitest";
import { Progress } from "../../../src/build/progress.js";
import { createReporter, plainReporter } from "../../../src/cli/render/progress.js";

describe("plain progress", () => {
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

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { helper } from "../../../src/vmm/parts/locate.js";
import { startGuarded } from "../../../src/vmm/processes.js";
import { scratchDirectory } from "../../helpers/scratch.js";

describe("a guarded process", () => {
  const scratch = scratchDirectory();

  test("dies when the process that started it is killed", async () => {
    // A parent in between, which is killed the hard way; the pipe ends when the guarded process is gone too.
    const script = `const { spawn } = require("node:child_process");
      spawn(process.argv[1], [String(process.pid), "--", "sleep", "1000"], { stdio: ["ignore", "inherit", "ignore"], detached: true })
        .on("spawn", () => process.stdout.write("started\\n"));`;
    const parent = spawn(process.execPath, ["-e", script, helper("aegis-guard")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(parent.stdout, "data");
    parent.kill("SIGKILL");
    parent.stdout.resume();
    await once(parent.stdout, "close");
  });

  test("does not start when its parent is gone already", () => {
    const start = () =>
      execFileSync(helper("aegis-guard"), ["1", "--", "true"], { stdio: ["ignore", "ignore", "pipe"] });
    expect(start).toThrow(expect.objectContaining({ status: 103 }));
  });

  test("can't write below a read-only directory, and sees the rest as it is", async () => {
    const file = scratch("file");
    writeFileSync(file, "before");
    const script = `echo after >"$0" || echo refused; echo beside >"$0".beside && cat "$0"; [ -w / ] && echo rest`;
    const sealed = await startGuarded("sh", ["-c", script, file], {
      stdio: ["ignore", "pipe", "pipe"],
      readOnly: [scratch()],
    });
    let said = "";
    sealed.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    await sealed.exited;
    expect(said).toBe("refused\nrest\n");
    expect(readFileSync(file, "utf8")).toBe("before");
  });

  test("sees nothing of this process's environment but PATH", async () => {
    process.env.AEGIS_TEST_SECRET = "hush";
    try {
      const guarded = await startGuarded("env", [], { stdio: ["ignore", "pipe", "pipe"] });
      let said = "";
      guarded.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
      await guarded.exited;
      expect(said.split("\n").map((line) => line.split("=")[0])).toEqual(["PATH", ""]);
    } finally {
      delete process.env.AEGIS_TEST_SECRET;
    }
  });

  test("an unknown program is an error that names it", async () => {
    const guarded = await startGuarded(scratch("none"), [], { stdio: ["ignore", "pipe", "pipe"] });
    expect(await guarded.exited).toMatchObject({ code: 127, message: expect.stringContaining("none: No such file") });
  });
});

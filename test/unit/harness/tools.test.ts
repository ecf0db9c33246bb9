import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseProcesses } from "../../../src/instance/processes.js";
import { type Compiled, compileHarness } from "../../helpers/compile-c.js";

let c: Compiled;
let directory: string;
beforeAll(() => {
  c = compileHarness("test/tools_main.c", ["src/tools.c"]);
});
afterAll(() => c?.[Symbol.dispose]());
beforeEach(() => {
  directory = mkdtempSync(path.join(c.directory, "tools-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (...names: string[]) => path.join(directory, ...names);
const tool = (args: readonly string[], input?: Buffer) => spawnSync(c.program, args, { input, maxBuffer: 64 << 20 });
const deep = path.join("d".repeat(90), "e".repeat(200), "f".repeat(250));

function populate(): void {
  mkdirSync(at("tree", path.dirname(deep)), { recursive: true });
  writeFileSync(at("tree", deep), "deep\n");
  writeFileSync(at("tree", "a b ü"), Buffer.alloc(70_000, "x"));
  writeFileSync(at("tree", "empty"), "");
  symlinkSync("t".repeat(300), at("tree", "far"));
  symlinkSync("empty", at("tree", "near"));
  chmodSync(at("tree", "empty"), 0o4751);
  mkdirSync(at("tree", "sealed"), { mode: 0o500 });
  for (const name of ["empty", deep, "a b ü"]) utimesSync(at("tree", name), 1_600_000_000, 1_600_000_000);
}

/** Times of files only: those of directories and links depend on who made what when. */
function listing(root: string): string[] {
  const script =
    'find . -printf "%P %y %m %l\\n"; find . -type f -printf "%P %T@ %n\\n"; find . -type f -exec sha256sum {} +';
  return execFileSync("sh", ["-ec", script], { cwd: root, encoding: "utf8" }).split("\n").sort();
}

describe("the harness", () => {
  test("packs a tree that tar unpacks, and unpacks what it packed", () => {
    populate();
    const packed = tool(["pack", directory, "tree"]);
    expect([packed.status, String(packed.stderr)]).toEqual([0, ""]);
    mkdirSync(at("by-tar"));
    execFileSync("tar", ["-xpf", "-", "--strip-components=1", "-C", at("by-tar")], { input: packed.stdout });
    expect(listing(at("by-tar"))).toEqual(listing(at("tree")));
    mkdirSync(at("own"));
    expect(tool(["unpack", at("own")], packed.stdout).status).toBe(0);
    expect(listing(at("own", "tree"))).toEqual(listing(at("tree")));
  });

  test.each(["gnu", "pax", "ustar"])("unpacks what tar packs in the format %s", (format) => {
    populate();
    if (format === "ustar") {
      rmSync(at("tree", "d".repeat(90)), { recursive: true });
      rmSync(at("tree", "far"));
      mkdirSync(at("tree", "p".repeat(90)));
      writeFileSync(at("tree", "p".repeat(90), "q".repeat(90)), "prefixed");
      utimesSync(at("tree", "p".repeat(90), "q".repeat(90)), 1_600_000_000, 1_600_000_000);
    }
    linkSync(at("tree", "empty"), at("tree", "hard"));
    execFileSync("mkfifo", [at("tree", "fifo")]);
    const tar = execFileSync("tar", [`--format=${format}`, "-C", at("tree"), "-cf", "-", "."], { maxBuffer: 64 << 20 });
    mkdirSync(at("out", "empty"), { recursive: true });
    const refused = tool(["unpack", at("out")], tar);
    expect([refused.status, String(refused.stderr)]).toEqual([1, "./empty: File exists\n"]);
    rmSync(at("out"), { recursive: true });
    mkdirSync(at("out"));
    const result = tool(["unpack", at("out")], tar);
    expect([result.status, String(result.stderr)]).toEqual([0, ""]);
    expect(listing(at("out"))).toEqual(listing(at("tree")));
  });

  test("says what is wrong with an archive, and what it can't find", () => {
    expect(String(tool(["unpack", directory], Buffer.alloc(700, "x")).stderr)).toMatch(/damaged/);
    expect(String(tool(["unpack", directory], Buffer.alloc(100)).stderr)).toMatch(/cut short/);
    expect(String(tool(["pack", directory, "none"]).stderr)).toBe("none: No such file or directory\n");
    expect(tool(["is-directory", directory]).status).toBe(0);
    expect(tool(["is-directory", at("none")]).status).toBe(1);
  });

  test("shows processes as `top` reads them", () => {
    const { stdout } = tool(["processes", "@marker@"]);
    const rows = parseProcesses(String(stdout), "@marker@");
    const own = rows.find(({ pid }) => pid === process.pid);
    expect(own).toMatchObject({ ppid: process.ppid, uid: process.getuid!() });
    expect(own!.residentBytes).toBeGreaterThan(10 << 20);
    expect(rows.every(({ command }) => !command.includes("@marker@"))).toBe(true);
  });
});

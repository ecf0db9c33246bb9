import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Compiled, compileHarness } from "../../helpers/compile-c.js";

let c: Compiled;
let directory: string;
let state: string;
let running: ChildProcess | undefined;

beforeAll(() => {
  c = compileHarness("test/tail_main.c", ["src/tail.c"]);
});
afterAll(() => c?.[Symbol.dispose]());
beforeEach(() => {
  directory = mkdtempSync(path.join(c.directory, "logs-"));
  state = mkdtempSync(path.join(c.directory, "state-"));
});
afterEach(async () => {
  await end();
  for (const made of [directory, state]) rmSync(made, { recursive: true, force: true });
});

/** As when the machine stops. */
async function end(): Promise<void> {
  if (running?.exitCode !== null) return;
  running.stdin?.end();
  await once(running, "exit");
}

function follow(...rule: [glob: string, field?: string]) {
  running = spawn(c.program, [state, path.join(directory, rule[0]), ...rule.slice(1)] as string[]);
  const lines = createInterface(running.stdout!)[Symbol.asyncIterator]();
  return async () => String((await lines.next()).value);
}
const at = (name: string) => path.join(directory, name);

test("lines of failure are told as they are written, with what was there before left alone", async () => {
  writeFileSync(at("app.log"), "old error\n");
  const next = follow("*.log");
  expect(await next()).toBe("following");
  // The second file is new to the follower, so all of it is news; by then it has seen the first.
  writeFileSync(at("b.log"), "started\nFATAL: no space left\n");
  expect(await next()).toBe("b.log: FATAL: no space left");
  appendFileSync(at("app.log"), "all is well\nunhandled Exception\nerror cut sh");
  expect(await next()).toBe("app.log: unhandled Exception");
  appendFileSync(at("app.log"), "ort\n");
  expect(await next()).toBe("app.log: error cut short");
});

test("what is written between two runs is told by the second, and nothing twice", async () => {
  writeFileSync(at("app.log"), "old error\n");
  const first = follow("*.log");
  await first();
  appendFileSync(at("app.log"), "error one\n");
  expect(await first()).toBe("app.log: error one");
  // There is one more look at the end.
  appendFileSync(at("app.log"), "error two\nerror cut sh");
  await end();
  expect(await first()).toBe("app.log: error two");
  expect(await first()).toBe("undefined");

  appendFileSync(at("app.log"), "ort\n");
  writeFileSync(at("late.log"), "error three\n");
  const second = follow("*.log");
  expect([await second(), await second()].sort()).toEqual(["app.log: error cut short", "late.log: error three"]);
  expect(await second()).toBe("following");
  await end();
  expect(await second()).toBe("undefined");
});

test("a rotated file is read from its beginning", async () => {
  const next = follow("app.log");
  await next();
  writeFileSync(at("app.log"), "error one, which is long\n");
  expect(await next()).toBe("app.log: error one, which is long");
  writeFileSync(at("new"), "error two\n");
  renameSync(at("new"), at("app.log"));
  expect(await next()).toBe("app.log: error two");
});

test("with a field, the lines that name it are told", async () => {
  const next = follow("*.jsonl", "message.errorMessage");
  await next();
  writeFileSync(at("s.jsonl"), '{"ok":"error"}\n{"message":{"errorMessage":"Connection error."}}\n');
  expect(await next()).toBe('s.jsonl: {"message":{"errorMessage":"Connection error."}}');
});

test("a line of any length does not stop what follows it", async () => {
  const next = follow("*.log");
  await next();
  writeFileSync(at("a.log"), `error ${"x".repeat(20_000)}\nerror at the end\n`);
  expect(await next()).toMatch(/^a\.log: error x+$/);
  expect(await next()).toBe("a.log: error at the end");
});

import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../../helpers/aegis-cli.js";
import { writeBusybox } from "../../helpers/busybox-tree.js";

/** Several builds at once, each a program of its own, of the same Dockerfile in the same home. */

let aegis: AegisUnderTest;
let context: string;
beforeEach(async () => {
  aegis = await aegisUnderTest();
  context = path.join(aegis.scratch, "context");
  mkdirSync(context);
  writeBusybox(path.join(context, "root"));
  // Says that it began, in a place that all builds and this test share, and ends when it is told to.
  const gated = 'echo "$$" >>/gate/begun; echo begun; while [ ! -e /gate/go ]; do sleep 0.1; done; date +%N >/made';
  writeFileSync(
    path.join(context, "Dockerfile"),
    `FROM scratch\nCOPY root /\nRUN --mount=type=cache,id=gate,target=/gate ${gated}\nRUN cp /made /again\n`,
  );
});
afterEach(() => aegis.dispose());

interface Build {
  /** Resolves once the program has said it on standard error. */
  says(word: string): Promise<void>;
  /** Status, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly said: () => string;
  kill(signal: NodeJS.Signals): void;
}

function startBuild(name: string): Build {
  const iid = path.join(aegis.scratch, name);
  const child = aegis.start("build", "--isolation", "container", "--progress", "plain", "--iidfile", iid, context);
  let text = "";
  const waiting = new Set<() => void>();
  child.stderr!.on("data", (chunk) => {
    text += String(chunk);
    for (const look of waiting) look();
  });
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | string);
  const says = (word: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => text.includes(word) && resolve();
      waiting.add(look);
      look();
      void ended.then((how) => reject(new Error(`it ended (${how}) without saying "${word}":\n${text}`)));
    });
  return { says, ended, said: () => text, kill: (signal) => child.kill(signal) };
}

const at = (...names: string[]) => path.join(aegis.home, ...names);
const namesIn = (directory: string) =>
  statSync(at(directory), { throwIfNoEntry: false }) ? readdirSync(at(directory)) : [];
const gate = () => at("cache/mounts", namesIn("cache/mounts").find((name) => !name.endsWith(".lock"))!);
const begun = () => readFileSync(path.join(gate(), "begun"), "utf8").trim().split("\n").length;
const open = () => writeFileSync(path.join(gate(), "go"), "");
const gatedStep = "[2/3] RUN";

test("a step that several builds want is done once, and all come to the same image", async () => {
  const first = startBuild("first");
  await first.says("begun\n");
  const others = [startBuild("second"), startBuild("third")];
  for (const build of others) await build.says(gatedStep);
  open();
  expect(await Promise.all([first, ...others].map((it) => it.ended))).toEqual([0, 0, 0]);
  expect(begun()).toBe(1);
  for (const build of others) expect(build.said()).toMatch(/\[2\/3\] RUN[^\n]*\n(#\d+ [^\n]*\n)*#\d+ CACHED/);
  const ids = ["first", "second", "third"].map((name) => readFileSync(path.join(aegis.scratch, name), "utf8"));
  expect(new Set(ids).size).toBe(1);
});

test.each([
  ["killed", "SIGKILL", "SIGKILL"],
  ["interrupted", "SIGINT", 130],
] as const)("a build that waits takes over when the one that it waits for is %s", async (_how, signal, status) => {
  const first = startBuild("first");
  await first.says("begun\n");
  const second = startBuild("second");
  await second.says(gatedStep);
  first.kill(signal);
  expect(await first.ended).toBe(status);
  await second.says("begun\n");
  expect(begun()).toBe(2);
  open();
  expect(await second.ended).toBe(0);
  // What the first had done before is not done again.
  expect(second.said()).toMatch(/\[1\/3\] COPY[^\n]*\n(#\d+ [^\n]*\n)*#\d+ CACHED/);
  await eventually(async () => ((await aegis.leftovers()).length === 0 ? true : undefined));
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(aegis.home);
});

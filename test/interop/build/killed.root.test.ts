import { type ChildProcess, execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { digestOf, hexOf } from "../../../src/oci/digests.js";
import type { Digest } from "../../../src/support/brands.js";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../../helpers/aegis-cli.js";
import { writeBusybox } from "../../helpers/busybox-tree.js";
import { type FaultProxy, startFaultProxy } from "../oci/fault-proxy.js";
import { skopeo } from "../oci/fixtures.js";
import { type RegistryServer, startRegistry } from "../oci/registry-server.js";

/** The whole program, killed with SIGKILL in the middle of things, and other programs pruning meanwhile. */

let registry: RegistryServer;
let proxy: FaultProxy;
let aegis: AegisUnderTest;
let context: string;
beforeAll(async () => {
  registry = await startRegistry();
  proxy = await startFaultProxy(registry.host);
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});
beforeEach(async () => {
  aegis = await aegisUnderTest();
  context = path.join(aegis.scratch, "context");
  mkdirSync(context);
  writeBusybox(path.join(context, "root"));
  proxy.decide = () => ({ kind: "pass" });
  proxy.seen.length = 0;
});
afterEach(() => aegis.dispose());

const at = (...parts: string[]) => path.join(aegis.home, ...parts);
const dockerfile = (...lines: string[]) => writeFileSync(path.join(context, "Dockerfile"), `${lines.join("\n")}\n`);
const build = (...flags: string[]) => ["build", "--isolation", "container", "--progress", "plain", ...flags, context];

/** What the program says on standard error, until `word` comes. */
async function until(child: ChildProcess, word: string): Promise<void> {
  let text = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr!.on("data", (chunk) => {
      text += String(chunk);
      if (text.includes(word)) resolve();
    });
    child.stderr!.on("end", () => reject(new Error(`it ended without saying "${word}":\n${text}`)));
  });
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/** Every blob has its digest; nothing temporary, mounted or running is left. */
async function expectSound(): Promise<void> {
  for (const hex of readdirSync(at("images/blobs/sha256"))) {
    expect(hexOf(digestOf(readFileSync(at("images/blobs/sha256", hex))))).toBe(hex);
  }
  await eventually(async () => ((await aegis.leftovers()).length === 0 ? true : undefined));
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(aegis.home);
  expect(execFileSync("losetup", ["-a"], { encoding: "utf8" })).not.toContain(aegis.home);
  for (const directory of ["tmp", "images/.tmp", "disks"]) {
    expect(namesIn(directory).filter((name) => name.startsWith("."))).toEqual([]);
  }
  expect(namesIn("images/.leases").filter((name) => name.endsWith(".lease"))).toEqual([]);
}

function namesIn(directory: string): readonly string[] {
  return statSync(at(directory), { throwIfNoEntry: false }) ? readdirSync(at(directory)) : [];
}

test("a build killed in the middle of a RUN loses that step alone", async () => {
  const steps = ["FROM scratch", "COPY root /", "RUN echo one >/one"];
  dockerfile(...steps, "RUN echo started && sleep 1000");
  const child = aegis.start(...build());
  await until(child, "started\n");
  await kill(child);
  expect(namesIn("tmp")).not.toEqual([]);
  await aegis.ok("prune", "--force");
  await expectSound();
  dockerfile(...steps, "RUN cat /one >/two");
  const { stderr, code } = await aegis.runWith({}, ...build("-t", "done:1"));
  expect(code).toBe(0);
  expect(stderr.match(/^#\d+ CACHED$/gm)).toHaveLength(2);
  await expectSound();
});

test("a build that runs is not robbed of anything by a prune of everything", async () => {
  dockerfile(
    "FROM scratch",
    "COPY root /",
    "RUN echo one >/one",
    "RUN --mount=type=cache,id=gate,target=/gate echo started && while [ ! -e /gate/go ]; do sleep 0.1; done; cat /one >/two",
  );
  const child = aegis.start(...build("-t", "done:1"));
  const exit = once(child, "exit");
  await until(child, "started\n");
  await aegis.ok("prune", "--force", "--all");
  const gate = namesIn("cache/mounts").find((name) => !name.endsWith(".lock"))!;
  writeFileSync(at("cache/mounts", gate, "go"), "");
  expect((await exit)[0]).toBe(0);
  expect(JSON.parse(await aegis.ok("image", "inspect", "done:1"))).toBeTruthy();
  await aegis.ok("save", "-o", path.join(aegis.scratch, "done.tar"), "done:1");
  await expectSound();
});

/** Pushes an image of two layers, the second one of `size` bytes. */
async function publish(name: string, size: number): Promise<readonly [first: Digest, last: Digest]> {
  writeFileSync(path.join(context, "big"), Buffer.alloc(size, "0123456789abcdef\n"));
  dockerfile("FROM scratch", "COPY root /", "COPY big /big");
  await aegis.ok(...build("-t", `${registry.host}/${name}`, "--push"));
  const manifest = JSON.parse(await skopeo("inspect", "--raw", `docker://${registry.host}/${name}`));
  await aegis.ok("prune", "--force", "--all");
  return manifest.layers.map((layer: { readonly digest: string }) => layer.digest);
}

const holding = (part: string) => {
  proxy.decide = ({ path: wanted }) => (wanted.includes(part) ? { kind: "stall" } : { kind: "pass" });
};
const asked = (method: string, part: string) => eventually(async () => proxy.count(method, part) || undefined);

test.each([
  ["pull", () => ["pull", `${proxy.host}/pulled:1`]],
  [
    "build",
    () => {
      dockerfile(`FROM ${proxy.host}/pulled:1`, "RUN cat /big >/again");
      return build("-t", `${proxy.host}/pulled:1`);
    },
  ],
])("a %s killed while it pulls goes on with what it has, a prune in between or not", async (_name, words) => {
  const [first, last] = await publish("pulled:1", 100_000);
  holding(last);
  const command = words();
  for (const prune of [true, false]) {
    proxy.seen.length = 0;
    const child = aegis.start(...command);
    child.stderr!.resume();
    await asked("GET", last);
    await eventually(async () => namesIn("images/blobs/sha256").includes(hexOf(first)) || undefined);
    await kill(child);
    if (prune) await aegis.ok("prune", "--force");
    if (prune) await expectSound();
  }
  proxy.decide = () => ({ kind: "pass" });
  proxy.seen.length = 0;
  await aegis.ok(...command);
  expect(proxy.count("GET", last)).toBe(1);
  // All else was there since before the kill that no prune followed.
  expect(proxy.seen.filter((it) => it.method === "GET" && it.path.includes("/blobs/"))).toHaveLength(1);
  // The lock of what arrived just before a kill may still be there, an empty file.
  expect(namesIn("images/.partial").filter((name) => !name.endsWith(".lock"))).toEqual([]);
  await aegis.ok("prune", "--force");
  await expectSound();
});

test("a load killed half-way leaves the store as it was", async () => {
  await publish("loaded:1", 5_000_000);
  const archive = path.join(aegis.scratch, "image.tar");
  await skopeo("copy", `docker://${registry.host}/loaded:1`, `docker-archive:${archive}:loaded:1`);
  const bytes = readFileSync(archive);
  const child = aegis.start("load");
  child.stderr!.resume();
  child.stdin!.on("error", () => undefined);
  child.stdin!.write(bytes.subarray(0, bytes.length - 100_000));
  await eventually(async () => (namesIn("images/.tmp").length > 0 ? true : undefined));
  await kill(child);
  expect(JSON.parse(await aegis.ok("images", "--format", "json"))).toEqual([]);
  await aegis.ok("prune", "--force");
  expect(namesIn("images/blobs/sha256")).toEqual([]);
  await expectSound();
  await aegis.ok("load", "-i", archive);
  expect(await aegis.ok("images", "-q")).not.toBe("");
  await expectSound();
});

test("a push killed half-way is done by the next one", async () => {
  await publish("source:1", 5_000_000);
  await aegis.ok("pull", `${registry.host}/source:1`);
  await aegis.ok("tag", `${registry.host}/source:1`, `${proxy.host}/pushed:1`);
  proxy.decide = ({ method }) =>
    method === "PUT" ? { kind: "hold", until: new Promise(() => undefined) } : { kind: "pass" };
  const child = aegis.start("push", `${proxy.host}/pushed:1`);
  child.stderr!.resume();
  await asked("PUT", "/pushed/");
  await kill(child);
  await aegis.ok("prune", "--force");
  await expectSound();
  proxy.decide = () => ({ kind: "pass" });
  await aegis.ok("push", `${proxy.host}/pushed:1`);
  const digest = async (name: string) =>
    JSON.parse(await skopeo("inspect", `docker://${registry.host}/${name}`)).Digest as string;
  expect(await digest("pushed:1")).toBe(await digest("source:1"));
});

test("a prune killed half-way has removed nothing that is needed, and the next one does the rest", async () => {
  dockerfile("FROM scratch", "COPY root /");
  await aegis.ok(...build("-t", "kept:1"));
  const garbage = 3000;
  const kept = namesIn("images/blobs/sha256").length;
  for (let i = 0; i < garbage; i++) {
    const bytes = Buffer.from(`garbage ${i}`);
    writeFileSync(at("images/blobs/sha256", hexOf(digestOf(bytes))), bytes);
  }
  const child = aegis.start("prune", "--force");
  await eventually(async () => (namesIn("images/blobs/sha256").length < garbage ? true : undefined));
  await kill(child);
  await aegis.ok("save", "-o", path.join(aegis.scratch, "kept.tar"), "kept:1");
  await aegis.ok("prune", "--force");
  expect(namesIn("images/blobs/sha256")).toHaveLength(kept);
  await expectSound();
});

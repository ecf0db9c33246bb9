/**
 * The reference workload, for real: the npm package openclaw baked by an Aegisfile, booted under QEMU, used from the host.
 * A home that is empty at first; one gateway for all tests, in the order in which they stand. Root, for RUN in a container:
 * two minutes instead of twenty without hardware virtualization.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { defaultCacheDir } from "../../scripts/base-images.mjs";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../helpers/aegis-cli.js";
import { baseImage } from "../helpers/base-images.js";

const fixture = path.resolve(import.meta.dirname, "../../fixtures/openclaw");
const stateDir = "/workspace/.openclaw/.openclaw";
const key = "sk-reference-workload-0123456789";
const token = "control-page-token-0123456789";

interface Asked {
  readonly request: IncomingMessage;
  readonly body: Buffer;
  readonly response: ServerResponse;
}

let aegis: AegisUnderTest;
let context: string;
let modelApi: Server;
/** What was asked of the stand-in for a model API and waits for its answer. */
const asked: Asked[] = [];
let apiPort: number;
let port: number;

beforeAll(async () => {
  aegis = await aegisUnderTest();
  context = path.join(aegis.scratch, "openclaw");
  await cp(fixture, context, { recursive: true });
  // FROM node:24 is the hub's image for everybody else: a local image of that name comes first.
  await aegis.importBase("debian-node:24", "node:24");
  await aegis.runWith({ stdin: `${key}\n` }, "secret", "set", "OPENAI_API_KEY");
  await aegis.runWith({ stdin: `${token}\n` }, "secret", "set", "OPENCLAW_GATEWAY_TOKEN");
  modelApi = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    if (request.url === "/size") response.end(`got ${body.length}`);
    else asked.push({ request, body, response });
  });
  await new Promise<void>((resolve) => modelApi.listen(0, "127.0.0.1", resolve));
  apiPort = (modelApi.address() as AddressInfo).port;
});
afterAll(async () => {
  modelApi?.closeAllConnections();
  modelApi?.close();
  await aegis?.dispose();
});

async function build(...more: readonly string[]): Promise<string> {
  const authority = process.env.NODE_EXTRA_CA_CERTS;
  const secrets = authority === undefined ? [] : ["--secret", `id=ca,src=${authority}`];
  const { code, stderr } = await aegis.run("build", "--progress", "plain", ...secrets, ...more, "openclaw");
  expect(code, stderr).toBe(0);
  return stderr;
}

/** Where the installed layers are kept from one run of the suite to the next, by what they are made of. */
async function keptLayers(): Promise<string> {
  const hash = createHash("sha256").update(path.basename(await baseImage("debian-node:24")));
  for (const name of (await readdir(fixture)).sort()) hash.update(await readFile(path.join(fixture, name)));
  return path.join(defaultCacheDir(), `openclaw-${hash.digest("hex").slice(0, 12)}`);
}

/** Waits until the gateway says that it is well; a machine that ends instead is told with its log. */
async function healthy(name = "openclaw"): Promise<void> {
  const status = await eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(10_000) }).catch(
      () => undefined,
    );
    if (answer?.status === 200) return "well";
    return (await aegis.inspect(name)).state.status === "exited" ? "ended" : undefined;
  });
  const { stdout, stderr } = await aegis.run("logs", name);
  expect(status, stdout + stderr).toBe("well");
}

/** Asks the agent through the gateway's own API, and waits until the agent has asked its model. */
async function askAgent(): Promise<{ readonly answer: Promise<string>; readonly model: Asked }> {
  const answer = fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", connection: "close" },
    body: JSON.stringify({ model: "openclaw", messages: [{ role: "user", content: "say hello" }] }),
  }).then((response) => response.text());
  return { answer, model: await eventually(async () => asked.pop()) };
}

function say(response: ServerResponse, text: string): void {
  const event = (delta: object, finish: string | null) =>
    `data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", created: 1, model: "stand-in", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(`${event({ role: "assistant", content: text }, null)}${event({}, "stop")}data: [DONE]\n\n`);
}

const inGuest = (script: string) => aegis.ok("exec", "openclaw", "node", "-e", script);

test("the Aegisfile bakes openclaw into an image (#7, #12)", async () => {
  const kept = await keptLayers();
  const fromKept = () => build("--cache-from", `type=local,src=${kept}`);
  const output = existsSync(kept) ? await fromKept() : await build();
  if (/^#\d+ CACHED$/m.test(output)) return;
  // Nothing is kept, or by an aegis that had other cache keys: these layers are kept instead.
  expect(output).toMatch(/added \d+ packages/);
  const fresh = path.join(aegis.scratch, "layers");
  expect(await build("--cache-to", `type=local,dest=${fresh},mode=max`)).toMatch(/^#\d+ CACHED$/m);
  await mkdir(path.dirname(kept), { recursive: true });
  for (const name of await readdir(path.dirname(kept))) {
    if (/^openclaw-[0-9a-f]{12}$/.test(name)) await rm(path.join(path.dirname(kept), name), { recursive: true });
  }
  await cp(fresh, `${kept}.${process.pid}`, { recursive: true });
  await rename(`${kept}.${process.pid}`, kept);
  // They are what the suite's next run begins with, in a home that remembers no steps.
  await rm(path.join(aegis.home, "cache"), { recursive: true });
  expect(await fromKept()).toMatch(/^#\d+ CACHED$/m);
});

test("a changed configuration is rebuilt without installing again (#7)", async () => {
  const file = path.join(context, "Aegisfile");
  const changed = '"port": 18789, "http": { "endpoints": { "chatCompletions": { "enabled": true } } }';
  await writeFile(file, (await readFile(file, "utf8")).replace('"port": 18789', changed));
  const again = await build();
  expect(again).not.toMatch(/added \d+ packages/);
  expect(again.match(/^#\d+ CACHED$/gm)?.length).toBeGreaterThanOrEqual(2);
});

test("run boots what was built here: the gateway on the guest's localhost answers /healthz (#2, #12, #13, #15, #17)", async () => {
  // One processor: an emulator gives all of them one thread of the host.
  const model = ["-e", `OPENAI_BASE_URL=http://host.aegis.internal:${apiPort}/v1`, "-e", "OPENAI_MODEL=stand-in"];
  await aegis.ok("run", "-d", "-p", ":18789", "--cpus", "1", "--host-loopback", ...model);
  port = Number((await aegis.ok("port", "openclaw", "18789")).split(":").at(-1));
  await healthy();
});

test("the control page is there for the host (#15)", async () => {
  // On a connection of its own, and again if need be: a gateway that has just come up still has its hands full.
  const page = await eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } });
    return answer.ok ? await answer.text() : undefined;
  });
  expect(page).toMatch(/<title>.*OpenClaw.*<\/title>/i);
});

test("memory, processors and no idle pause come from the Aegisfile, or from a flag (#1, #5, #9)", async () => {
  expect((await aegis.inspect("openclaw")).origins).toMatchObject({
    memory: "image",
    cpus: "flag",
    idle: "image",
    restart: "image",
  });
  const facts = await inGuest("console.log(JSON.stringify([os.totalmem() > 1.8 * 2 ** 30, os.cpus().length]))");
  expect(JSON.parse(facts)).toEqual([true, 1]);
});

test("both of OpenClaw's files are where it looks for them, for their owner only, and the key is nowhere on the host (#8, #10, #12)", async () => {
  const profiles = `${stateDir}/agents/main/agent/auth-profiles.json`;
  const script = `console.log(JSON.stringify([${JSON.stringify([`${stateDir}/openclaw.json`, profiles])}
    .map((file) => [fs.statSync(file).mode & 0o777, fs.statSync(file).uid, JSON.parse(fs.readFileSync(file))])]))`;
  const profile = { type: "api_key", provider: "openai", key };
  expect(JSON.parse(await inGuest(script))).toEqual([
    [
      [
        0o600,
        0,
        expect.objectContaining({ auth: { profiles: { "openai:default": { provider: "openai", mode: "api_key" } } } }),
      ],
      [0o600, 0, { version: 1, profiles: { "openai:default": profile } }],
    ],
  ]);
  const { stdout, stderr } = await aegis.run("logs", "openclaw");
  expect((await aegis.ok("inspect", "openclaw")) + stdout + stderr).not.toContain(key);
  // The guest's own page cache is written to its disks first; grep passes over their holes. Status 1: nothing was found.
  await inGuest('child_process.execFileSync("sync")');
  const grep = spawnSync("grep", ["-rlF", "-f", "-", aegis.home], { input: key });
  expect([grep.status, String(grep.stdout)]).toEqual([1, ""]);
});

test("request bodies of 50 KB, 100 KB and 10 MB reach a server of the host whole (#14)", async () => {
  const script = `(async () => { for (const size of [50 << 10, 100 << 10, 10 << 20]) {
    const answer = await fetch("http://host.aegis.internal:${apiPort}/size", { method: "POST", body: Buffer.alloc(size, 120) });
    console.log(await answer.text());
  } })()`;
  expect((await inGuest(script)).split("\n")).toEqual([50 << 10, 100 << 10, 10 << 20].map((size) => `got ${size}`));
});

test("an agent's run asks its model with the rendered key, and a pause amid the answer loses nothing (#8, #9, #14)", async () => {
  const { answer, model } = await askAgent();
  expect(model.request.headers.authorization).toBe(`Bearer ${key}`);
  expect(model.body.length).toBeGreaterThan(46 << 10);
  expect(JSON.parse(model.body.toString())).toMatchObject({ model: "stand-in" });
  await aegis.ok("pause", "openclaw");
  say(model.response, "late but whole");
  const health = fetch(`http://127.0.0.1:${port}/healthz`, { headers: { connection: "close" } });
  await aegis.ok("resume", "openclaw");
  expect(await answer).toContain("late but whole");
  expect((await health).status).toBe(200);
});

test("what the model API refuses is only in a session's file, and in aegis logs (#11)", async () => {
  const { answer, model } = await askAgent();
  model.response.writeHead(401, { "content-type": "application/json" });
  model.response.end(JSON.stringify({ error: { message: "no such key here", type: "invalid_request_error" } }));
  expect(await answer).toContain("error");
  await eventually(async () =>
    /sessions\/\S+\.jsonl: .*no such key here/.test((await aegis.run("logs", "openclaw")).stderr) ? true : undefined,
  );
});

test("a stopped gateway starts again with what it had, and installs nothing (#7)", async () => {
  await inGuest('fs.writeFileSync("/workspace/kept", "yes"); fs.writeFileSync("/usr/local/lib/kept", "yes")');
  const sessions = await inGuest(`console.log(fs.readdirSync("${stateDir}/agents/main/sessions").length > 0)`);
  await aegis.ok("stop", "openclaw");
  await aegis.ok("start", "openclaw");
  await healthy();
  expect(sessions).toBe("true");
  expect(await inGuest(`console.log(fs.readdirSync("${stateDir}/agents/main/sessions").length > 0)`)).toBe("true");
  expect(await aegis.ok("exec", "openclaw", "cat", "/workspace/kept", "/usr/local/lib/kept")).toBe("yesyes");
  await aegis.ok("rm", "-f", "openclaw");
  expect(await aegis.leftovers()).toEqual([]);
});

test("512 MB ends in a line that names the process, the limit and the flag to raise, once a few large requests come (#16)", async () => {
  const ended = aegis.run(
    "run",
    "--name",
    "small",
    "-p",
    ":18789",
    "--memory",
    "512m",
    "--cpus",
    "1",
    "--restart",
    "no",
  );
  port = Number((await eventually(() => aegis.ok("port", "small", "18789"))).split(":").at(-1));
  await healthy("small");
  const over = new AbortController();
  ended.then(() => over.abort());
  // It comes up in half a gigabyte; bodies of 15 MB, each within its own limit of 20, are more than it has left.
  const body = JSON.stringify({ model: "openclaw", messages: [{ role: "user", content: "x".repeat(15 << 20) }] });
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", connection: "close" };
  const post = () =>
    fetch(`http://127.0.0.1:${port}/v1/chat/completions`, { method: "POST", headers, body, signal: over.signal });
  while (!over.signal.aborted) await Promise.allSettled(Array.from({ length: 8 }, post));
  const { code, stderr } = await ended;
  expect(code, stderr).toBe(137);
  expect(stderr).toMatch(/out of memory: the guest's kernel killed .*the machine has 512 MiB, run it with --memory/);
  expect((await aegis.inspect("small")).state.oomKilled).toBe(true);
});

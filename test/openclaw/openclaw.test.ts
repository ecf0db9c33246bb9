/**
 * The reference workload, for real: the npm package openclaw baked by an Aegisfile, booted under QEMU, used from the host.
 * A home that is empty at first; one gateway for all tests, in the order in which they stand.
 */
import { cp, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../helpers/aegis-cli.js";

const fixture = path.resolve(import.meta.dirname, "../../fixtures/openclaw");
const stateDir = "/workspace/.openclaw/.openclaw";
const secret = "sk-reference-workload-0123456789";

let aegis: AegisUnderTest;
let context: string;
let modelApi: Server;
/** Requests to the stand-in that are held open. */
const held: ServerResponse[] = [];
let apiPort: number;
let port: number;

beforeAll(async () => {
  aegis = await aegisUnderTest();
  context = path.join(aegis.scratch, "openclaw");
  await cp(fixture, context, { recursive: true });
  await aegis.importBase("debian-node:24", "debian-node:24");
  modelApi = createServer(async (request, response) => {
    let size = 0;
    for await (const chunk of request) size += (chunk as Buffer).length;
    if (request.url === "/held") held.push(response);
    else response.end(`got ${size}`);
  });
  await new Promise<void>((resolve) => modelApi.listen(0, "127.0.0.1", resolve));
  apiPort = (modelApi.address() as AddressInfo).port;
});
afterAll(async () => {
  modelApi?.closeAllConnections();
  modelApi?.close();
  await aegis?.dispose();
});

async function build(): Promise<string> {
  const authority = process.env.NODE_EXTRA_CA_CERTS;
  const secrets = authority === undefined ? [] : ["--secret", `id=ca,src=${authority}`];
  const { code, stderr } = await aegis.run("build", "--progress", "plain", ...secrets, "-t", "openclaw", context);
  expect(code, stderr).toBe(0);
  return stderr;
}

/** Waits until the gateway says that it is well; a machine that ends instead is told with its log. */
async function healthy(): Promise<void> {
  const status = await eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(10_000) }).catch(
      () => undefined,
    );
    if (answer?.status === 200) return "well";
    return (await aegis.inspect("claw")).state.status === "exited" ? "ended" : undefined;
  });
  const { stdout, stderr } = await aegis.run("logs", "claw");
  expect(status, stdout + stderr).toBe("well");
}

const inGuest = (script: string) => aegis.ok("exec", "claw", "node", "-e", script);

test("the Aegisfile bakes openclaw into an image; a changed configuration is rebuilt without installing again (#7, #12)", async () => {
  expect(await build()).toContain("npm install");
  const file = path.join(context, "Aegisfile");
  await writeFile(file, (await readFile(file, "utf8")).replace('"port": 18789', '"port": 18789, "bind": "loopback"'));
  const again = await build();
  expect(again).not.toMatch(/added \d+ packages/);
  expect(again.match(/^#\d+ CACHED$/gm)?.length).toBeGreaterThanOrEqual(2);
});

test("the gateway on the guest's localhost answers /healthz and shows its control page to the host (#2, #13, #15, #17)", async () => {
  await aegis.runWith({ stdin: `${secret}\n` }, "secret", "set", "OPENAI_API_KEY");
  await aegis.ok("run", "-d", "--name", "claw", "-p", ":18789", "--host-loopback", "openclaw");
  port = Number((await aegis.ok("port", "claw", "18789")).split(":").at(-1));
  await healthy();
  const page = await eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(30_000) });
    return answer.ok ? await answer.text() : undefined;
  });
  expect(page).toMatch(/<title>.*OpenClaw.*<\/title>/i);
});

test("memory and processors come from the Aegisfile, no flag needed (#5)", async () => {
  expect((await aegis.inspect("claw")).origins).toMatchObject({ memory: "image", cpus: "image" });
  const facts = await inGuest("console.log(JSON.stringify([os.totalmem() > 1.8 * 2 ** 30, os.cpus().length]))");
  expect(JSON.parse(facts)).toEqual([true, 2]);
});

test("the configuration is where OpenClaw looks for it, and the key is nowhere on the host (#8, #10, #12)", async () => {
  const script = `
    const file = "${stateDir}/openclaw.json";
    console.log(JSON.stringify([fs.statSync(file).mode & 0o777, JSON.parse(fs.readFileSync(file)), process.env.OPENAI_API_KEY]));`;
  const [mode, config, key] = JSON.parse(await inGuest(script)) as [number, unknown, string];
  expect([mode, config, key]).toEqual([0o600, expect.objectContaining({ gateway: expect.anything() }), secret]);
  expect(await aegis.ok("inspect", "claw")).not.toContain(secret);
});

test("an error that OpenClaw only writes to a session file is in the log (#11)", async () => {
  const line = JSON.stringify({ stopReason: "error", errorMessage: "Connection error." });
  const directory = `${stateDir}/agents/main/sessions`;
  await inGuest(
    `fs.mkdirSync("${directory}", { recursive: true }); fs.appendFileSync("${directory}/s.jsonl", ${JSON.stringify(`${line}\n`)})`,
  );
  await eventually(async () =>
    (await aegis.run("logs", "claw")).stderr.includes("s.jsonl: Connection error.") ? true : undefined,
  );
});

test("request bodies of 50 KB, 100 KB and 10 MB reach a model API on the host whole (#14)", async () => {
  const script = `(async () => { for (const size of [50 << 10, 100 << 10, 10 << 20]) {
    const answer = await fetch("http://host.aegis.internal:${apiPort}/", { method: "POST", body: Buffer.alloc(size, 120) });
    console.log(await answer.text());
  } })()`;
  expect((await inGuest(script)).split("\n")).toEqual([50 << 10, 100 << 10, 10 << 20].map((size) => `got ${size}`));
});

test("a pause with a model's answer under way loses neither it nor the gateway (#9)", async () => {
  const script = `fetch("http://host.aegis.internal:${apiPort}/held", { method: "POST", body: "x" }).then(async (answer) => console.log(await answer.text()))`;
  const asked = inGuest(script);
  const response = await eventually(async () => held.pop());
  await aegis.ok("pause", "claw");
  response.end("late but whole");
  const health = fetch(`http://127.0.0.1:${port}/healthz`);
  await aegis.ok("resume", "claw");
  expect(await asked).toBe("late but whole");
  expect((await health).status).toBe(200);
});

test("a stopped gateway starts again with what it had, and installs nothing (#7)", async () => {
  await inGuest('fs.writeFileSync("/workspace/kept", "yes"); fs.writeFileSync("/usr/local/lib/kept", "yes")');
  await aegis.ok("stop", "claw");
  await aegis.ok("start", "claw");
  await healthy();
  expect(await aegis.ok("exec", "claw", "cat", "/workspace/kept", "/usr/local/lib/kept")).toBe("yesyes");
  await aegis.ok("rm", "-f", "claw");
  expect(await aegis.leftovers()).toEqual([]);
});

test("512 MB ends in a line that names the process, the limit and the flag to raise (#16)", async () => {
  const { code, stderr } = await aegis.run("run", "--name", "small", "--memory", "512m", "--restart", "no", "openclaw");
  expect(code).toBe(137);
  expect(stderr).toMatch(/out of memory: the guest's kernel killed .*the machine has 512 MiB, run it with --memory/);
});

import { spawnSync } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../helpers/aegis-cli.js";

/** A service that listens on localhost only, as agents and gateways do. */
const service = `
const http = require("node:http"), os = require("node:os");
console.log("my key is " + process.env.API_KEY);
http.createServer((request, response) => {
  if (request.url === "/facts") {
    const facts = { key: process.env.API_KEY, memory: os.totalmem(), cpus: os.cpus().length, host: os.hostname() };
    return response.end(JSON.stringify(facts));
  }
  if (request.url.startsWith("/post/")) {
    const [, , port, size] = request.url.split("/");
    const out = http.request({ host: "host.aegis.internal", port, method: "POST" }, (answer) => answer.pipe(response));
    out.on("error", (error) => response.end(String(error)));
    return out.end(Buffer.alloc(Number(size), 120));
  }
  response.end("hello");
}).listen(8080, "127.0.0.1");
`;

const secret = "correct-horse-battery-staple";
let aegis: AegisUnderTest;
let upstream: Server;
let upstreamPort: number;
let port: number;

beforeAll(async () => {
  aegis = await aegisUnderTest();
  upstream = createServer(async (request, response) => {
    let size = 0;
    for await (const chunk of request) size += (chunk as Buffer).length;
    response.end(`got ${size}`);
  });
  upstreamPort = await new Promise<number>((resolve) => {
    upstream.listen(0, "127.0.0.1", () => resolve((upstream.address() as { port: number }).port));
  });
  await aegis.importBase("debian-node:22", "node", 'CMD ["node", "/app/service.js"]');
  await writeFile(path.join(aegis.scratch, "service.js"), service);
  await aegis.runWith({ stdin: `${secret}\n` }, "secret", "set", "API_KEY");
  const share = `${aegis.scratch}:/app:ro`;
  const options = [
    "-p",
    ":8080",
    "--memory",
    "1g",
    "--cpus",
    "2",
    "--secret",
    "API_KEY",
    "--host-loopback",
    "-v",
    share,
  ];
  await aegis.ok("run", "-d", "--name", "web", ...options, "node");
  port = Number((await aegis.ok("port", "web", "8080")).split(":").at(-1));
  await eventually(() => get("/"));
});
afterAll(async () => {
  upstream?.close();
  await aegis?.dispose();
});

async function get(route: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${route}`, { signal: AbortSignal.timeout(60_000) });
  return await response.text();
}

test("a server bound to 127.0.0.1 in the guest is reached from the host (#15)", async () => {
  expect(await get("/")).toBe("hello");
});

test("memory and processors are as asked for (#5, #16)", async () => {
  const facts = JSON.parse(await get("/facts")) as { memory: number; cpus: number; host: string };
  expect(facts).toMatchObject({ cpus: 2, host: "web" });
  // The kernel keeps some of it to itself.
  expect(facts.memory).toBeGreaterThan(0.9 * 2 ** 30);
  expect(facts.memory).toBeLessThanOrEqual(2 ** 30);
  expect((await aegis.inspect("web")).origins).toMatchObject({ memory: "flag", disk: "default" });
});

test.each([50 << 10, 256 << 10, 10 << 20])("a POST of %i bytes out of the guest arrives whole (#14)", async (size) => {
  expect(await get(`/post/${upstreamPort}/${size}`)).toBe(`got ${size}`);
});

describe("a secret (#8)", () => {
  test("is in the app's environment", async () => {
    expect(JSON.parse(await get("/facts"))).toMatchObject({ key: secret });
  });

  test("is in no process of the host, no file of the home, and no log", async () => {
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
      for (const file of ["cmdline", "environ"]) {
        const text = await readFile(`/proc/${pid}/${file}`, "latin1").catch(() => "");
        expect(text.includes(secret), `/proc/${pid}/${file}`).toBe(false);
      }
    }
    // grep passes over the holes of disks; status 1 says that nothing was found. The pattern comes from standard input.
    const grep = spawnSync("grep", ["-rlF", "-f", "-", aegis.home], { input: secret });
    expect([grep.status, String(grep.stdout)]).toEqual([1, ""]);
    expect(await aegis.ok("logs", "web")).toContain("my key is <secret API_KEY>");
    expect(await aegis.ok("inspect", "web")).not.toContain(secret);
  });
});

test("names resolve, and localhost does too (#2, #13)", async () => {
  const lookup =
    'require("dns").lookup("localhost",4,(e,a)=>console.log(a)); require("dns").lookup("web",(e,a)=>console.log(a))';
  const { stdout } = await aegis.run("exec", "web", "node", "-e", lookup);
  expect(stdout.trim().split("\n").sort()).toEqual(["127.0.0.1", "192.168.127.2"]);
  expect(await aegis.ok("exec", "web", "cat", "/etc/resolv.conf")).toContain("nameserver 192.168.127.1");
});

test("the host's loopback is closed to guests that did not ask for it", async () => {
  const script = `require("net").connect(${upstreamPort},"192.168.127.254").on("connect",()=>{console.log("open");process.exit()}).on("error",()=>console.log("closed")).setTimeout(3000,()=>{console.log("closed");process.exit()})`;
  const { stdout } = await aegis.run("run", "--rm", "--name", "probe", "node", "node", "-e", script);
  expect(stdout).toBe("closed\n");
});

test("a port in use is refused before anything boots, with its owner", async () => {
  const { code, stderr } = await aegis.run("run", "--name", "second", "-p", `${port}:80`, "node", "true");
  expect(code).toBe(125);
  expect(stderr).toMatch(new RegExp(`port ${port} on 127.0.0.1 is in use by pid \\d+ .*\\[AEGIS_E_PORT_TAKEN\\]`));
  expect(await aegis.ok("ps", "-aq", "--filter", "name=second")).toBe("");
});

test("files are copied in and out, as they are", async () => {
  await aegis.ok("cp", path.join(aegis.scratch, "service.js"), "web:/root/copy.js");
  await aegis.ok("cp", "web:/root/copy.js", path.join(aegis.scratch, "back.js"));
  expect(await readFile(path.join(aegis.scratch, "back.js"), "utf8")).toBe(service);
});

test("stats, top and ps tell what is going on", async () => {
  const [stats] = JSON.parse(await aegis.ok("stats", "--format", "json", "web")) as {
    memoryUsedBytes: number;
    processes: number;
  }[];
  expect(stats?.memoryUsedBytes).toBeGreaterThan(10e6);
  expect(await aegis.ok("top", "web")).toMatch(/node \/app\/service\.js/);
  expect(await aegis.ok("ps")).toMatch(new RegExp(`web +node .* Up .* 127\\.0\\.0\\.1:${port}->8080/tcp`));
});

test("a paused machine answers again when it is resumed, with the right time (#9)", async () => {
  await aegis.ok("pause", "web");
  expect(await aegis.ok("ps")).toContain("(paused)");
  const answer = get("/");
  await aegis.ok("resume", "web");
  expect(await answer).toBe("hello");
  const seconds = Number(await aegis.ok("exec", "web", "date", "+%s"));
  expect(Math.abs(Date.now() / 1000 - seconds)).toBeLessThan(5);
});

test("what was written survives a stop, a kill of the VMM and of the supervisor (#7); nothing is left running", async () => {
  const write = (text: string) => aegis.ok("exec", "web", "sh", "-c", `echo ${text} >> /root/kept; sync`);
  const read = () => aegis.ok("exec", "web", "cat", "/root/kept");
  await write("one");
  await aegis.ok("stop", "web");
  expect((await aegis.inspect("web")).state).toMatchObject({ status: "exited", exitCode: 143 });
  expect(await aegis.leftovers()).toEqual([]);

  await aegis.ok("start", "web");
  await write("two");
  process.kill((await aegis.inspect("web")).state.vmmPid!, "SIGKILL");
  expect(await aegis.ok("wait", "web")).toBe("137");
  expect((await aegis.inspect("web")).state.reason).toMatch(/SIGKILL/);
  expect(await aegis.leftovers()).toEqual([]);

  await aegis.ok("start", "web");
  await write("three");
  process.kill((await aegis.inspect("web")).state.supervisorPid!, "SIGKILL");
  await eventually(async () => ((await aegis.inspect("web")).state.status === "exited" ? true : undefined));
  await eventually(async () => ((await processesOf(aegis)).length === 0 ? true : undefined));

  await aegis.ok("start", "web");
  expect(await read()).toBe("one\ntwo\nthree");
  await aegis.ok("rm", "-f", "web");
  expect(await aegis.leftovers()).toEqual([]);
});

/** Leftovers that are processes; a killed supervisor leaves its socket, which the next start replaces. */
const processesOf = async (under: AegisUnderTest) => (await under.leftovers()).filter((line) => line.includes(" "));

/** The proxy process on the host: 127.0.0.9 plays the machine's address, so no privilege and no network is needed. */

import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Server } from "node:net";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Compiled, compileHarness } from "../../helpers/compile-c.js";
import { freePort } from "../../helpers/free-port.js";

const machine = "127.0.0.9";
let c: Compiled;
let running: ChildProcess | undefined;
const servers: Server[] = [];

beforeAll(() => {
  c = compileHarness(
    "test/proxy_main.c",
    ["proxy", "diag", "relay", "udp", "steer"].map((name) => `src/${name}.c`),
  );
});
afterAll(() => c?.[Symbol.dispose]());
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  if (running && running.exitCode === null) {
    running.stdin?.end();
    await once(running, "exit");
  }
  running = undefined;
});

/** Ports that nobody has right now. */

/** Starts the proxy; `said` waits for a report. */
function proxy(way: string, ...ports: string[]) {
  const child = spawn(c.program, [way, machine, ...ports], { stdio: ["pipe", "pipe", "inherit"] });
  running = child;
  const lines: string[] = [];
  const waiting: (() => void)[] = [];
  createInterface(child.stdout).on("line", (line) => {
    lines.push(line);
    for (const wake of waiting.splice(0)) wake();
  });
  return async (line: string) => {
    while (!lines.includes(line)) await new Promise<void>((resolve) => waiting.push(resolve));
    lines.splice(0, lines.indexOf(line) + 1);
  };
}

async function echo(port: number, host: string): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let count = 0;
    socket.on("data", (chunk) => {
      count += chunk.length;
    });
    socket.on("end", () => socket.end(`${count} bytes from ${socket.remoteAddress}`));
  });
  servers.push(server);
  server.listen({ port, host, ipv6Only: host.includes(":") });
  await once(server, "listening");
  return server;
}

async function post(port: number, body: Buffer): Promise<string> {
  const socket = connect({ host: machine, port, allowHalfOpen: true });
  socket.end(body);
  return await text(socket);
}

// "steer" falls back to "bind" where the kernel or the user's rights don't allow it, so both pass everywhere.
describe.each(["bind", "steer"])("a server on the loopback alone (%s)", (way) => {
  test("is reached on the machine's address, with half-closes and any size of body", async () => {
    const port = await freePort("0.0.0.0");
    const said = proxy(way, String(port));
    await echo(port, "127.0.0.1");
    await said(`up ${port}/tcp`);
    expect(await post(port, Buffer.alloc(3_000_000))).toBe("3000000 bytes from 127.0.0.1");
  });

  test("may be one of IPv6", async () => {
    const port = await freePort("0.0.0.0");
    const said = proxy(way, String(port));
    await echo(port, "::1");
    await said(`up ${port}/tcp`);
    expect(await post(port, Buffer.from("hi"))).toBe("2 bytes from ::1");
  });

  test("that goes away is told, and one on all addresses may come instead", async () => {
    const port = await freePort("0.0.0.0");
    const said = proxy(way, String(port));
    const first = await echo(port, "127.0.0.1");
    await said(`up ${port}/tcp`);
    first.close();
    await said(`down ${port}/tcp`);
    await echo(port, "0.0.0.0");
    await said(`up ${port}/tcp`);
    expect(await post(port, Buffer.from("hi"))).toMatch(/^2 bytes from 127/);
  });
});

test("a datagram server on the loopback answers its clients, each its own", async () => {
  const port = await freePort("0.0.0.0");
  const said = proxy("bind", `${port}/udp`);
  const server = createSocket("udp4");
  server.on("message", (message, from) => server.send(`re:${message}`, from.port, from.address));
  server.bind(port, "127.0.0.1");
  await said(`up ${port}/udp`);
  const clients = ["a", "b"].map(async (name) => {
    const client = createSocket("udp4");
    client.send(name, port, machine);
    const [answer] = (await once(client, "message")) as [Buffer];
    client.close();
    return answer.toString();
  });
  expect(await Promise.all(clients)).toEqual(["re:a", "re:b"]);
  server.close();
});

test("a port that nobody published is told when somebody listens on it", async () => {
  const port = await freePort("0.0.0.0");
  const other = await freePort("0.0.0.0");
  const said = proxy("bind", String(port));
  await echo(other, "0.0.0.0");
  await said(`up ${other}/tcp`);
});

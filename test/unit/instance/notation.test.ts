import { createServer } from "node:net";
import { describe, expect, test } from "vitest";
import { explainExit } from "../../../src/instance/exits.js";
import { nameFromImage } from "../../../src/instance/names.js";
import { formatPort, parsePort, reservePorts } from "../../../src/instance/ports.js";
import { formatRestart, nextRestart, parseRestart } from "../../../src/instance/restart.js";
import { parseSignal, signalName } from "../../../src/instance/signals.js";
import { parseMount, parseTmpfs, parseVolume } from "../../../src/instance/volumes.js";

const withCode = (code: string) => expect.objectContaining({ code });

describe("-p", () => {
  test.each([
    ["18789", ["127.0.0.1:18789->18789/tcp"]],
    ["8080:80", ["127.0.0.1:8080->80/tcp"]],
    ["0.0.0.0:8080:80", ["0.0.0.0:8080->80/tcp"]],
    ["[::1]:8080:80/tcp", ["[::1]:8080->80/tcp"]],
    ["5353:53/UDP", ["127.0.0.1:5353->53/udp"]],
    ["127.0.0.1::80", ["127.0.0.1:0->80/tcp"]],
    [":80", ["127.0.0.1:0->80/tcp"]],
    ["9000-9001:80-81", ["127.0.0.1:9000->80/tcp", "127.0.0.1:9001->81/tcp"]],
    ["80-81", ["127.0.0.1:80->80/tcp", "127.0.0.1:81->81/tcp"]],
  ])("%s", (text, ports) => {
    expect(parsePort(text).map(formatPort)).toEqual(ports);
  });

  test.each(["", "http", "80:", "1:2:3:4", "70000", "0", "80-79", "1-2:3", "host:80:80", "80/sctp"])(
    "%s is refused",
    (text) => {
      expect(() => parsePort(text)).toThrow(withCode("BAD_PORT"));
    },
  );

  test("a taken port is an error that names its owner and another port", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    try {
      await expect(reservePorts(parsePort(`${port}:80`))).rejects.toMatchObject({
        code: "PORT_TAKEN",
        message: expect.stringMatching(new RegExp(`^port ${port} on 127.0.0.1 is in use by pid ${process.pid} `)),
        hint: expect.stringContaining(`-p ${port + 1}:80`),
      });
    } finally {
      server.close();
    }
    const [free] = await reservePorts(parsePort(`${port}:80`));
    expect(free?.hostPort).toBe(port);
    const [any] = await reservePorts(parsePort(":80"));
    expect(any?.hostPort).toBeGreaterThan(0);
  });

  test("the same host port for two guest ports is an error", async () => {
    const twice = [...parsePort("39991:80"), ...parsePort("39991:81")];
    await expect(reservePorts(twice)).rejects.toThrow(withCode("PORT_TAKEN"));
    expect(await reservePorts([...parsePort("39991:80"), ...parsePort("39991:80")])).toHaveLength(1);
  });
});

test.each([
  ["node:22", "node"],
  ["ghcr.io/acme/web:1.2", "web"],
  ["localhost:5000/a/b@sha256:0123", "b"],
  ["debian", "debian"],
  [`sha256:${"ab".repeat(32)}`, "abababababab"],
])("%s suggests the name %s", (reference, name) => {
  expect(nameFromImage(reference)).toBe(name);
});

describe("volumes", () => {
  const parse = (text: string) => parseVolume(text, "/work", "/home/me");
  test.each([
    ["./data:/data", { kind: "bind", hostPath: "/work/data", target: "/data", readOnly: false }],
    ["/a/b:/data/:ro", { kind: "bind", hostPath: "/a/b", target: "/data", readOnly: true }],
    ["~/x:/x:z", { kind: "bind", hostPath: "/home/me/x", target: "/x", readOnly: false }],
    ["cache:/c", { kind: "volume", name: "cache", target: "/c", readOnly: false }],
    ["/only", { kind: "anonymous", target: "/only" }],
  ])("-v %s", (text, volume) => {
    expect(parse(text)).toEqual(volume);
  });
  test.each(["a:b", "a b:/x", "/x:/y:fast", "/", "/a:/", "/a:/b:ro:x"])("-v %s is refused", (text) => {
    expect(() => parse(text)).toThrow(withCode("BAD_VOLUME"));
  });
  test("--mount and --tmpfs say the same in other words", () => {
    const mount = (text: string) => parseMount(text, "/work", "/home/me");
    expect(mount("type=bind,src=./d,dst=/d,readonly")).toEqual(parse("./d:/d:ro"));
    expect(mount("source=cache,target=/c")).toEqual(parse("cache:/c"));
    expect(mount("type=tmpfs,target=/t,tmpfs-size=64m")).toEqual(parseTmpfs("/t:size=64m"));
    expect(parseTmpfs("/t:mode=1777")).toMatchObject({ kind: "tmpfs", mode: 0o1777 });
    expect(() => mount("type=bind,target=/x")).toThrow(withCode("BAD_VOLUME"));
    expect(() => mount("type=bind,source=/x,target=/x,bind-nonrecursive=true")).toThrow(withCode("BAD_VOLUME"));
  });
});

describe("restart policies", () => {
  test.each(["no", "always", "unless-stopped", "on-failure", "on-failure:3"])("%s", (text) => {
    expect(formatRestart(parseRestart(text))).toBe(text);
  });
  test.each(["", "yes", "always:1", "on-failure:x"])("%s is refused", (text) => {
    expect(() => parseRestart(text)).toThrow(withCode("BAD_RESTART"));
  });
  test("on-failure restarts failures up to its count, with growing delays; a stop ends it", () => {
    const policy = parseRestart("on-failure:2");
    const run = { exitCode: 1, ranMs: 5, stoppedByUser: false };
    const first = nextRestart(policy, run, { count: 0, delayMs: 0 })!;
    const second = nextRestart(policy, run, first)!;
    expect([first, second]).toEqual([
      { count: 1, delayMs: 100 },
      { count: 2, delayMs: 200 },
    ]);
    expect(nextRestart(policy, run, second)).toBeUndefined();
    expect(nextRestart(policy, { ...run, exitCode: 0 }, first)).toBeUndefined();
    expect(nextRestart(parseRestart("always"), { ...run, stoppedByUser: true }, first)).toBeUndefined();
    expect(nextRestart(parseRestart("always"), { ...run, ranMs: 60_000 }, { count: 9, delayMs: 60_000 })).toEqual({
      count: 10,
      delayMs: 100,
    });
  });
});

test("signals by name and number", () => {
  expect(["TERM", "sigint", "9", "RTMIN+1"].map(parseSignal)).toEqual([15, 2, 9, 35]);
  expect(() => parseSignal("NOPE")).toThrow(withCode("BAD_SIGNAL"));
  expect([signalName(15), signalName(60)]).toEqual(["SIGTERM", "signal 60"]);
});

describe("why it died", () => {
  const machine = { program: "/app", memoryBytes: 512 * 2 ** 20 };
  const exit = { code: undefined, signal: undefined, oomKilled: false };
  test("an exit status is the app's own and needs no words", () => {
    expect(explainExit({ ...exit, code: 3 }, machine)).toEqual({ exitCode: 3, oomKilled: false });
  });
  test("a signal is 128+n", () => {
    expect(explainExit({ ...exit, signal: 15 }, machine)).toMatchObject({
      exitCode: 143,
      reason: "/app was ended by SIGTERM",
    });
  });
  test("out of memory names the process, the limit and the flag", () => {
    const oom = { type: "oom", pid: 12, name: "node", rssBytes: 400e6 } as const;
    expect(explainExit({ ...exit, signal: 9, oomKilled: true }, { ...machine, oom })).toEqual({
      exitCode: 137,
      oomKilled: true,
      reason:
        "out of memory: the guest's kernel killed node (pid 12, 400MB resident); the machine has 512 MiB, run it with --memory 1g",
    });
  });
  test("what could not be started is 126 or 127, as in Docker", () => {
    const start = (errno: string, interpreter?: string) =>
      explainExit({ ...exit, startError: { errno, path: "/app", stage: "exec", interpreter } }, machine);
    expect(start("ENOENT")).toMatchObject({ exitCode: 127, reason: expect.stringContaining("not in the image") });
    expect(start("ENOENT", "/bin/bash")).toMatchObject({ exitCode: 127, reason: expect.stringContaining("/bin/bash") });
    expect(start("EACCES")).toMatchObject({ exitCode: 126, reason: expect.stringContaining("chmod +x") });
    expect(start("ENOEXEC")).toMatchObject({ exitCode: 126, reason: expect.stringContaining("#!") });
  });
});

import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { control, hold, interact } from "../../../src/instance/client.js";
import { readLog } from "../../../src/instance/log.js";
import type { LaunchEvent, LaunchPayload } from "../../../src/instance/messages.js";
import { createInstance, filesOf, isSupervised, readInstance } from "../../../src/instance/store.js";
import { isQuiet } from "../../../src/instance/supervisor/idle.js";
import { supervise } from "../../../src/instance/supervisor/supervise.js";
import type { InstanceConfig } from "../../../src/instance/types.js";
import { parseSecretFlag } from "../../../src/secrets/spec.js";
import { type AegisHome, openHome } from "../../../src/support/home.js";
import { freePort } from "../../helpers/free-port.js";
import { instanceConfig as base } from "../../helpers/instance-config.js";
import { type FakeHouse, fakeHouse, quietStats } from "./fake-machine.js";

let home: AegisHome;
beforeEach(async () => {
  const root = await mkdtemp(path.join(tmpdir(), "aegis-supervise-"));
  home = openHome({ AEGIS_HOME: root });
});
afterEach(async () => {
  await rm(home.root, { recursive: true, force: true });
  await rm(home.sockets, { recursive: true, force: true });
});

const { id } = base;

interface Running {
  readonly config: InstanceConfig;
  readonly ended: Promise<void>;
  /** Resolves with the first event of that type. */
  heard(type: LaunchEvent["type"]): Promise<LaunchEvent>;
  readonly terminate: AbortController;
}

async function up(
  house: FakeHouse,
  change: Partial<InstanceConfig> = {},
  payload: Partial<LaunchPayload> = {},
): Promise<Running> {
  const config = { ...base, ...change };
  await createInstance(home, config);
  const events: LaunchEvent[] = [];
  let wake: () => void = () => undefined;
  const terminate = new AbortController();
  const ended = supervise(home, id, {
    payload: { secrets: [], attach: false, ...payload },
    parts: house.parts,
    launcherGone: new Promise(() => undefined),
    terminate: terminate.signal,
    report: (event) => {
      events.push(event);
      wake();
    },
  });
  const heard = async (type: LaunchEvent["type"]) => {
    for (;;) {
      const found = events.find((event) => event.type === type);
      if (found) return found;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  await Promise.race([heard("listening"), ended]);
  return { config, ended, heard, terminate };
}

function sink() {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  return { stream, text: () => chunks.join("") };
}

async function logTexts() {
  const lines: string[] = [];
  for await (const line of readLog(filesOf(home, id).log)) lines.push(`${line.stream}: ${line.text}`);
  return lines;
}

const attach = { op: "attach", stdin: true, output: true, foreground: true } as const;

test("a foreground client sees all output and the exit status, and nothing is left", async () => {
  const house = fakeHouse((app) => {
    app.stdout.write("out\n");
    app.stderr.write("err\n");
    app.exit({ code: 3 });
  });
  const { config, ended } = await up(house, {}, { attach: true });
  const [stdout, stderr] = [sink(), sink()];
  const { exited } = await interact(home, config, attach, { stdout: stdout.stream, stderr: stderr.stream });
  expect(await exited).toEqual({ exitCode: 3, oomKilled: false });
  await ended;
  expect([stdout.text(), stderr.text()]).toEqual(["out\n", "err\n"]);
  expect((await logTexts()).sort()).toEqual(["stderr: err", "stdout: out"]);
  expect(house.log).toEqual(["disk", "machine up", "shutdown 9", "machine down", "network down"]);
  expect((await readInstance(home, id))?.state).toMatchObject({ status: "exited", exitCode: 3 });
  await expect(stat(filesOf(home, id).socketDir)).rejects.toMatchObject({ code: "ENOENT" });
  expect(await isSupervised(home, id)).toBe(false);
});

test("input, signals and terminal sizes reach the app", async () => {
  const house = fakeHouse((app) => {
    app.stdin.on("data", (chunk) => app.stdout.write(`got ${chunk}`));
    app.events.on("signal", (signal) => app.exit({ code: signal === 10 ? 0 : 1 }));
  });
  const process = { ...base.process, openStdin: true, tty: true };
  const { config, ended } = await up(house, { process }, { attach: true });
  const stdout = sink();
  const size = { rows: 30, cols: 100 };
  const front = await interact(home, config, { ...attach, size }, { stdout: stdout.stream });
  front.input(Buffer.from("abc"));
  front.signal(10);
  expect(await front.exited).toMatchObject({ exitCode: 0 });
  await ended;
  expect(house.boots[0]?.process?.tty).toEqual(size);
  expect(stdout.text()).toBe("got abc");
});

test("stop asks the guest with the stop signal, and restart policies leave a stopped instance alone", async () => {
  const house = fakeHouse(() => undefined);
  const { config, ended, heard } = await up(house, { restart: { kind: "always" }, stopSignal: 2 });
  await heard("running");
  await control(home, config, { op: "stop" });
  await ended;
  expect(house.log).toContain("shutdown 2");
  expect((await readInstance(home, id))?.state).toMatchObject({ status: "exited", exitCode: 130, stoppedByUser: true });
});

test("on-failure boots again until its count is used up, on the same disk", async () => {
  const house = fakeHouse((app) => app.exit({ code: 7 }));
  const { ended } = await up(house, { restart: { kind: "on-failure", maxRetries: 2 } });
  await ended;
  expect(house.boots).toHaveLength(3);
  expect(house.log.filter((line) => line === "disk")).toHaveLength(1);
  expect((await readInstance(home, id))?.state).toMatchObject({ exitCode: 7, restartCount: 2 });
});

test("a VMM that is killed is told as that, and a dead supervisor is seen as one", async () => {
  const house = fakeHouse(() => undefined);
  const { ended, heard } = await up(house);
  await heard("running");
  house.power({ code: null, signal: "SIGKILL", message: "" });
  await ended;
  expect((await readInstance(home, id))?.state).toMatchObject({
    status: "exited",
    exitCode: 137,
    reason: "the virtual machine was killed (SIGKILL)",
  });
});

test("a machine that ends before its guest is up is a coded error with the console's last lines", async () => {
  const house = fakeHouse(() => undefined);
  const broken = {
    ...house.parts,
    connectGuest: () => new Promise<never>(() => house.power({ code: 1, signal: null, message: "" })),
  };
  const { heard, ended } = await up({ ...house, parts: broken });
  expect(await heard("failed")).toMatchObject({
    error: { code: "VMM_EXITED", context: "last words of the kernel", exitCode: 125 },
  });
  await ended;
  expect(house.log.slice(-2)).toEqual(["machine down", "network down"]);
  expect((await readInstance(home, id))?.state).toMatchObject({ status: "exited", error: { code: "VMM_EXITED" } });
});

test("a secret is in the app's environment and file, and in no file of the instance nor in the log", async () => {
  const house = fakeHouse((app) => {
    app.stdout.write("key is hunter2-hunter2\n");
    app.exit({ code: 0 });
  });
  const secrets = [parseSecretFlag("KEY"), parseSecretFlag("id=CERT,target=/run/cert,mode=0440")];
  const renders = [{ path: "/etc/a.json", mode: 0o600, owner: "0:0", template: '{"k":{{ secret "KEY" | json }}}' }];
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const { ended } = await up(
    house,
    { secrets, renders },
    {
      secrets: [
        { name: "KEY", base64: base64("hunter2-hunter2") },
        { name: "CERT", base64: base64("certificate") },
      ],
    },
  );
  await ended;
  const [boot] = house.boots;
  expect(boot?.process?.env).toEqual(["A=1", "KEY=hunter2-hunter2"]);
  expect(boot?.files.map((file) => [file.path, file.mode, Buffer.from(file.content).toString()])).toEqual([
    ["/run/cert", 0o440, "certificate"],
    ["/etc/a.json", 0o600, '{"k":"hunter2-hunter2"}'],
  ]);
  expect(await logTexts()).toEqual(["stdout: key is <secret KEY>"]);
  const { directory } = filesOf(home, id);
  for (const file of await readdir(directory)) {
    expect(await readFile(path.join(directory, file), "utf8")).not.toMatch(/hunter2|certificate/);
  }
});

test("exec gets the app's environment, secrets included, and its own exit status", async () => {
  const house = fakeHouse(
    () => undefined,
    (process) => {
      process.stdout.write(process.spec.env.join(" "));
      process.exit({ code: 4 });
    },
  );
  const { config, ended, heard } = await up(
    house,
    { secrets: [parseSecretFlag("KEY")] },
    { secrets: [{ name: "KEY", base64: Buffer.from("s").toString("base64") }] },
  );
  await heard("running");
  const stdout = sink();
  const request = { argv: ["sh"], env: ["A=2"], user: undefined, cwd: undefined, size: undefined, privileged: false };
  const front = await interact(home, config, { op: "exec", stdin: false, process: request }, { stdout: stdout.stream });
  expect(await front.exited).toMatchObject({ exitCode: 4 });
  expect(stdout.text()).toBe("A=2 KEY=s");
  await control(home, config, { op: "stop" });
  await ended;
});

test("--rm leaves no trace", async () => {
  const house = fakeHouse((app) => app.exit({ code: 0 }));
  await (await up(house, { autoRemove: true })).ended;
  expect(await readdir(home.instances)).toEqual([]);
  await expect(readdir(home.sockets)).rejects.toThrow("ENOENT");
});

test("the host's request to end stops the guest cleanly", async () => {
  const house = fakeHouse(() => undefined);
  const { ended, heard, terminate } = await up(house);
  await heard("running");
  terminate.abort();
  await ended;
  expect(house.log).toContain("shutdown 15");
});

test("an OOM kill is told with process and limit; error log lines and the story end up in the log", async () => {
  const house = fakeHouse((app) => {
    house.emit({ type: "errorlog", path: "/log/app", line: "Connection error." });
    house.emit({ type: "oom", pid: 7, name: "node", rssBytes: 9e8 });
    app.exit({ signal: 9, oomKilled: true });
  });
  await (await up(house)).ended;
  const state = (await readInstance(home, id))?.state;
  expect(state).toMatchObject({ exitCode: 137, oomKilled: true, reason: expect.stringContaining("--memory 2g") });
  expect(await logTexts()).toEqual(
    expect.arrayContaining(["aegis: /log/app: Connection error.", `aegis: ${state?.reason}`]),
  );
});

test("an idle machine is paused, a connection to its port wakes it and is passed on", async () => {
  const upstream = createServer((socket) => socket.pipe(socket));
  const house = fakeHouse(() => undefined);
  const port = await freePort();
  // What gvproxy does with an exposed port: here it echoes.
  const network = house.parts.network;
  const parts = {
    ...house.parts,
    network: async (...args: Parameters<typeof network>) => {
      const inner = await network(...args);
      return {
        ...inner,
        expose: async () => {
          house.log.push("exposed");
          await new Promise<void>((resolve) => upstream.listen(port, "127.0.0.1", resolve));
        },
        unexpose: async () => {
          house.log.push("unexposed");
          await new Promise<unknown>((resolve) => upstream.close(resolve));
        },
      };
    },
  };
  const ports = [{ hostAddress: "127.0.0.1", hostPort: port, guestPort: 80, protocol: "tcp" as const }];
  const { config, ended, heard } = await up({ ...house, parts }, { ports, idleMs: 300 });
  await heard("running");
  await untilState("paused");
  expect(await ask(port, "ping")).toBe("ping");
  expect(house.log.filter((line) => !line.startsWith("disk"))).toEqual([
    "exposed",
    "machine up",
    "paused",
    "unexposed",
    "resumed",
    "clock",
    "exposed",
  ]);
  await untilState("paused");
  await control(home, config, { op: "resume" });
  expect(await ask(port, "by hand")).toBe("by hand");
  await control(home, config, { op: "stop" });
  await ended;
  upstream.close();
});

async function untilState(status: string): Promise<void> {
  while ((await readInstance(home, id))?.state.status !== status)
    await new Promise((resolve) => setTimeout(resolve, 20));
}

function ask(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
      if (answer.length >= text.length) socket.destroy();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(answer));
    socket.write(text);
  });
}

test("a guest is quiet only when processor, disks and network all are", () => {
  const before = quietStats;
  expect(isQuiet(before, { ...before, cpuUsec: 15_000, networkSentBytes: 500 }, 1000, "krun")).toBe(true);
  expect(isQuiet(before, { ...before, cpuUsec: 500_000 }, 1000, "krun")).toBe(false);
  expect(isQuiet(before, { ...before, diskWrittenBytes: 1 << 20 }, 1000, "krun")).toBe(false);
  expect(isQuiet(before, { ...before, networkReceivedBytes: 1 << 20 }, 1000, "krun")).toBe(false);
});

test("a machine that is held has written everything and stands still until its client lets go, or dies", async () => {
  const house = fakeHouse(() => undefined);
  const { config, heard, ended } = await up(house);
  await heard("running");
  const from = house.log.length;
  {
    await using _held = await hold(home, config);
    expect(house.log.slice(from)).toEqual(["sync", "paused"]);
    expect((await readInstance(home, id))?.state.status).toBe("paused");
  }
  expect(house.log.slice(from)).toEqual(["sync", "paused", "resumed", "clock"]);
  await control(home, config, { op: "pause" });
  await (await hold(home, config))[Symbol.asyncDispose]();
  expect((await readInstance(home, id))?.state).toMatchObject({ status: "paused", pausedBy: "hand" });
  await control(home, config, { op: "stop" });
  await ended;
});

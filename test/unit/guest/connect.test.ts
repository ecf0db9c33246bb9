import { describe, expect, test } from "vitest";
import { FieldWriter } from "../../../src/guest/fields.js";
import { FromGuest, INPUT_WINDOW, OUTPUT_WINDOW, ToGuest } from "../../../src/guest/frames.js";
import { connectGuest } from "../../../src/guest/index.js";
import { encodeU32 } from "../../../src/guest/messages.js";
import type { BootConfig, GuestEvent, ProcessSpec } from "../../../src/guest/types.js";
import { FakeGuest } from "../../helpers/fake-guest.js";

const spec: ProcessSpec = { argv: ["/bin/true"], env: [], user: "", cwd: "/" };
const config: BootConfig = {
  hostname: "web",
  root: { lowers: [0], upper: 1 },
  extraHosts: [],
  mounts: [],
  files: [],
  ports: [],
  errorLogs: [],
};

async function connected() {
  const fake = new FakeGuest();
  fake.hello();
  const guest = await connectGuest(fake.control, { timeoutMs: 1000 });
  return { fake, guest };
}

async function running() {
  const { fake, guest } = await connected();
  const starting = guest.exec(spec);
  const { stream } = await fake.hear(ToGuest.exec);
  fake.say(FromGuest.ok, stream, new FieldWriter().u32(1, 42).finish());
  return { fake, guest, stream, process: await starting };
}

const exit = (status: number) => new FieldWriter().u32(1, status).finish();

describe("a guest's greeting", () => {
  test("gives its kernel, memory and processors", async () => {
    const { guest } = await connected();
    expect(guest.hello).toMatchObject({ kernelRelease: "6.12", memoryBytes: 2 ** 30, cpus: 2 });
  });

  test("that never comes is an error within the time given", async () => {
    await expect(connectGuest(new FakeGuest().control, { timeoutMs: 20 })).rejects.toMatchObject({
      code: "GUEST_SILENT",
    });
  });

  test("in another version is refused", async () => {
    const fake = new FakeGuest();
    fake.hello(99);
    await expect(connectGuest(fake.control, { timeoutMs: 1000 })).rejects.toMatchObject({ code: "GUEST_PROTOCOL" });
  });

  test("of another protocol is refused", async () => {
    const fake = new FakeGuest();
    fake.raw(Buffer.from("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"));
    await expect(connectGuest(fake.control, { timeoutMs: 1000 })).rejects.toMatchObject({ code: "GUEST_PROTOCOL" });
  });

  test("is not waited for when the machine has ended", async () => {
    const fake = new FakeGuest();
    fake.leave();
    await expect(connectGuest(fake.control, { timeoutMs: 5000 })).rejects.toMatchObject({
      code: "GUEST_GONE",
      message: expect.stringContaining("before the guest said anything"),
    });
  });
});

describe("booting", () => {
  test("without an app resolves when the root is up", async () => {
    const { fake, guest } = await connected();
    const booting = guest.boot(config);
    fake.say(FromGuest.ok, (await fake.hear(ToGuest.boot)).stream);
    await expect(booting).resolves.toBeUndefined();
  });

  test("tells what the guest could not set up", async () => {
    const { fake, guest } = await connected();
    const booting = guest.boot(config);
    const refusal = new FieldWriter().text(1, "ENOENT").text(2, "mount /dev/vdb (ext4): No such file").finish();
    fake.say(FromGuest.error, (await fake.hear(ToGuest.boot)).stream, refusal);
    await expect(booting).rejects.toMatchObject({ code: "GUEST_BOOT", details: { errno: "ENOENT" } });
  });

  test("an app that can't be started resolves, with the reason in its exit", async () => {
    const { fake, guest } = await connected();
    const booting = guest.boot({ ...config, process: spec });
    const { stream } = await fake.hear(ToGuest.boot);
    const start = new FieldWriter().text(1, "ENOENT").text(2, "/app/run").text(3, "/usr/bin/python").text(4, "exec");
    fake.say(FromGuest.exit, stream, new FieldWriter().bytes(4, start.finish()).finish());
    const process = await booting;
    expect(process?.pid).toBeUndefined();
    await expect(process?.exited).resolves.toMatchObject({
      startError: { errno: "ENOENT", path: "/app/run", interpreter: "/usr/bin/python", stage: "exec" },
    });
  });
});

describe("a process", () => {
  test("has its output delivered in full after its exit is known", async () => {
    const { fake, stream, process } = await running();
    fake.say(FromGuest.output, stream, Buffer.from("first "), 1);
    fake.say(FromGuest.exit, stream, exit(7));
    fake.say(FromGuest.output, stream, Buffer.from("last"), 1);
    fake.say(FromGuest.outputEnd, stream, undefined, 1);
    fake.say(FromGuest.outputEnd, stream, undefined, 2);
    await expect(process.exited).resolves.toEqual({ code: 7, signal: undefined, oomKilled: false });
    expect(Buffer.concat(await process.stdout.toArray()).toString()).toBe("first last");
    expect(await process.stderr.toArray()).toEqual([]);
  });

  test("is granted more output only when somebody has read", async () => {
    const { fake, stream, process } = await running();
    for (let sent = 0; sent < OUTPUT_WINDOW; sent += 32768) fake.say(FromGuest.output, stream, Buffer.alloc(32768), 1);
    await new Promise(setImmediate);
    expect(fake.heard.filter((frame) => frame.type === ToGuest.credit)).toEqual([]);
    process.stdout.resume();
    const granted = (await fake.hear(ToGuest.credit)).payload.readUInt32LE();
    expect(granted).toBeGreaterThan(0);
    expect(granted).toBeLessThanOrEqual(OUTPUT_WINDOW);
  });

  test("that sends more than it was granted breaks the protocol", async () => {
    const { fake, guest, stream, process } = await running();
    for (let sent = 0; sent <= OUTPUT_WINDOW; sent += 32768) fake.say(FromGuest.output, stream, Buffer.alloc(32768), 1);
    await expect(guest.closed).rejects.toMatchObject({ code: "GUEST_PROTOCOL" });
    await expect(process.exited).rejects.toMatchObject({ code: "GUEST_PROTOCOL" });
  });

  test("whose output nobody wants is not held up", async () => {
    const { fake, stream, process } = await running();
    process.stdout.destroy();
    for (let sent = 0; sent < OUTPUT_WINDOW; sent += 32768) fake.say(FromGuest.output, stream, Buffer.alloc(32768), 1);
    expect((await fake.hear(ToGuest.credit)).payload.readUInt32LE()).toBeGreaterThan(0);
  });

  test("gets no more input than it has room for, and the rest when it has", async () => {
    const { fake, stream, process } = await running();
    process.stdin.end(Buffer.alloc(INPUT_WINDOW + 10));
    expect((await fake.hear(ToGuest.stdin)).payload.length).toBe(INPUT_WINDOW);
    expect(fake.heard).toEqual([]);
    fake.say(FromGuest.stdinCredit, stream, encodeU32(4096));
    expect((await fake.hear(ToGuest.stdin)).payload.length).toBe(10);
    await fake.hear(ToGuest.stdinEnd);
  });

  test("that has ended takes input without complaint", async () => {
    const { fake, stream, process } = await running();
    fake.say(FromGuest.exit, stream, exit(0));
    await process.exited;
    await new Promise<void>((resolve, reject) =>
      process.stdin.end("late", (e?: Error | null) => (e ? reject(e) : resolve())),
    );
    expect(fake.heard).toEqual([]);
  });

  test("is told of signals and window sizes", async () => {
    const { fake, process } = await running();
    process.kill(15);
    process.resize(24, 80);
    expect((await fake.hear(ToGuest.signal)).payload).toEqual(encodeU32(15));
    expect((await fake.hear(ToGuest.resize)).payload).toEqual(encodeU32(24, 80));
  });
});

describe("a hostile guest", () => {
  test.each([
    ["answers what nobody asked", FromGuest.ok, 99],
    ["sends output of no process", FromGuest.output, 99],
    ["sends a frame of unknown type", 0xee, 0],
  ])("that %s is cut off", async (_what, type, stream) => {
    const { fake, guest } = await connected();
    const asked = guest.sync();
    fake.say(type, stream, Buffer.alloc(4));
    await expect(guest.closed).rejects.toMatchObject({ code: "GUEST_PROTOCOL" });
    await expect(asked).rejects.toMatchObject({ code: "GUEST_PROTOCOL" });
  });
});

describe("events", () => {
  test("that come before anybody listens are kept", async () => {
    const { fake, guest } = await connected();
    fake.say(FromGuest.event, 0, new FieldWriter().u32(1, 1).u32(2, 7).text(3, "node").u64(4, 4096).finish());
    await new Promise(setImmediate);
    const seen: GuestEvent[] = [];
    guest.on((event) => seen.push(event));
    fake.say(
      FromGuest.event,
      0,
      new FieldWriter()
        .u32(1, 5)
        .u64(4, 1 << 24)
        .u32(10, 2)
        .finish(),
    );
    await new Promise(setImmediate);
    expect(seen).toEqual([
      { type: "oom", pid: 7, name: "node", rssBytes: 4096 },
      { type: "diskFull", disk: 2, sizeBytes: 1 << 24 },
    ]);
  });
});

test("lines of error logs are judged by the rules that the guest was booted with", async () => {
  const { fake, guest } = await connected();
  const seen: GuestEvent[] = [];
  guest.on((event) => seen.push(event));
  const booting = guest.boot({ ...config, errorLogs: [{ glob: "/var/log/*.jsonl", field: "error" }] });
  fake.say(FromGuest.ok, (await fake.hear(ToGuest.boot)).stream);
  await booting;
  const again = guest.boot(config);
  fake.say(FromGuest.error, (await fake.hear(ToGuest.boot)).stream, new FieldWriter().text(2, "booted").finish());
  await expect(again).rejects.toMatchObject({ code: "GUEST_BOOT" });
  const line = (text: string, rule: number) =>
    new FieldWriter().u32(1, 3).text(3, "/var/log/a.jsonl").text(8, text).u32(9, rule).finish();
  fake.say(FromGuest.event, 0, line('{"ok":1}', 0));
  fake.say(FromGuest.event, 0, line('{"error":"boom"}', 0));
  await new Promise(setImmediate);
  expect(seen).toEqual([{ type: "errorlog", path: "/var/log/a.jsonl", line: "boom" }]);
  fake.say(FromGuest.event, 0, line("{}", 7));
  await expect(guest.closed).rejects.toMatchObject({ code: "GUEST_PROTOCOL" });
});

describe("the end", () => {
  test("after a shutdown is no failure", async () => {
    const { fake, guest } = await connected();
    const stopping = guest.shutdown({ signal: 15, graceMs: 1000 });
    fake.say(FromGuest.ok, (await fake.hear(ToGuest.shutdown)).stream);
    await stopping;
    fake.leave();
    await expect(guest.closed).resolves.toBeUndefined();
  });

  test("without one rejects everything that waits", async () => {
    const { fake, guest, process } = await running();
    const asked = guest.stats();
    fake.leave();
    await expect(asked).rejects.toMatchObject({ code: "GUEST_GONE" });
    await expect(process.exited).rejects.toMatchObject({ code: "GUEST_GONE" });
    await expect(guest.closed).rejects.toMatchObject({ code: "GUEST_GONE" });
  });
});

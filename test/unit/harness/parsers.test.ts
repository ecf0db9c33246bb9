import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeMessage, ToGuest } from "../../../src/guest/frames.js";
import { encodeBoot, encodeProcess } from "../../../src/guest/messages.js";
import type { BootConfig } from "../../../src/guest/types.js";
import { type Compiled, compileHarness } from "../../helpers/compile-c.js";

const fixtures = new URL("../../fixtures/guest/", import.meta.url).pathname;
let c: Compiled;

beforeAll(() => {
  const parsers = ["tlv", "frames", "config", "users", "oom"].map((name) => `src/${name}.c`);
  c = compileHarness("test/decode_main.c", parsers);
});
afterAll(() => c?.[Symbol.dispose]());

const understood = (args: string[], input: Uint8Array | string = "") =>
  execFileSync(c.program, args, { input, maxBuffer: 1 << 26 }).toString();

/** Everything that a boot configuration can say. */
const full: BootConfig = {
  hostname: "web",
  root: {
    lowers: [0, { disk: 1, directory: "/upper" }],
    upper: 2,
    volatile: true,
    mountPoints: [{ path: "/run/late", type: "file" }],
  },
  readOnlyRoot: true,
  network: {
    address: "192.168.127.2",
    prefix: 24,
    gateway: "192.168.127.1",
    dns: ["192.168.127.1", "9.9.9.9"],
    mtu: 1500,
  },
  extraHosts: [{ address: "10.0.0.9", name: "db" }],
  mounts: [
    { type: "virtiofs", tag: "work", target: "/workspace", readOnly: true },
    { type: "tmpfs", target: "/scratch", size: 4096, mode: 0o700, uid: 5, gid: 6, noexec: true },
    { type: "disk", disk: 3, subpath: "/data", target: "/var/lib/db", readOnly: false, copyUp: true },
    { type: "bind", source: "/etc", target: "/etc2", readOnly: true },
  ],
  files: [
    { path: "/run/secrets/key", mode: 0o400, owner: "app:web", content: Buffer.from("s3cret"), persistent: true },
  ],
  ports: [
    { port: 8080, protocol: "tcp" },
    { port: 53, protocol: "udp" },
  ],
  errorLogs: [{ glob: "/var/log/*.jsonl", field: "error" }],
  shmSize: 1 << 20,
  process: {
    argv: ["/bin/sh", "-c", "echo ü"],
    env: ["A=1", "EMPTY="],
    user: "app",
    cwd: "/app",
    createCwd: true,
    groups: [20, 30],
    tty: { rows: 24, cols: 80 },
    capAdd: ["NET_ADMIN"],
    limits: [{ name: "nofile", soft: 1024, hard: -1 }],
    sandbox: {
      hostname: "buildkitsandbox",
      network: "none",
      shmSize: 65536,
      mounts: [{ type: "disk", disk: 4, subpath: "/", target: "/src", readOnly: false, discard: true }],
      files: [{ path: "/run/secrets/npm", mode: 0o400, owner: "", content: Buffer.from("tok") }],
      extraHosts: [{ address: "10.1.1.1", name: "mirror" }],
    },
  },
};
const when = new Date(1_700_000_000_000);

describe("the harness", () => {
  test("understands a boot configuration as the host meant it", () => {
    expect(understood(["boot"], encodeBoot(full, when))).toBe(readFileSync(path.join(fixtures, "boot.txt"), "utf8"));
  });

  test("gets the recorded bytes from today's host", () => {
    const recorded = readFileSync(path.join(fixtures, "boot.hex"), "utf8").replaceAll(/\s/g, "");
    const frames = encodeMessage(ToGuest.boot, 1, encodeBoot(full, when));
    expect(Buffer.concat(frames).toString("hex")).toBe(recorded);
  });

  test("collects a configuration of several frames", () => {
    const content = Buffer.alloc(200_000, "x");
    const big = encodeBoot({ ...full, files: [{ path: "/big", mode: 0o600, owner: "", content }] }, when);
    const seen = understood(["frames"], Buffer.concat(encodeMessage(ToGuest.boot, 1, big)));
    expect(seen).toContain(`frame 10 flags 0 stream 1 length ${big.length}\n`);
    expect(seen).toContain(`file /big 600  flags=0 ${content}\n`);
  });

  test("refuses what is cut short, at every length", () => {
    const bytes = encodeProcess(full.process!);
    const half = bytes.subarray(0, bytes.length - 3);
    expect(understood(["process"], half)).toMatch(/^refused: /);
  });

  test("refuses a host entry that would add a line to /etc/hosts", () => {
    const evil = { ...full, extraHosts: [{ address: "10.0.0.1", name: "a\n10.0.0.2 b" }] };
    expect(understood(["boot"], encodeBoot(evil, when))).toBe("refused: a host entry breaks its line\n");
  });

  test("survives 5,000 damaged messages", () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const frames = Buffer.concat([
      ...encodeMessage(ToGuest.boot, 1, encodeBoot(full, when)),
      ...encodeMessage(ToGuest.exec, 3, encodeProcess(full.process!)),
    ]);
    for (const input of [frames, encodeBoot(full, when)]) {
      expect(() => understood(["fuzz", String(seed), "2500"], input), `seed ${seed}`).not.toThrow();
    }
  });
});

describe("users are found", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\nbroken line\napp:x:1000:1001:App:/home/app:/bin/sh\nbad:x:-5:0::/:\n";
  const group = "root:x:0:\nweb:x:33:app,other\naudio:x:29:other\nwheel:x:10:app\n";
  const who = (spec: string, files: { passwd?: string; group?: string } = {}) => {
    const at = (name: string, text: string) => {
      const file = path.join(c.directory, name);
      writeFileSync(file, text);
      return file;
    };
    return understood(["user", spec, at("passwd", files.passwd ?? passwd), at("group", files.group ?? group)]).trim();
  };

  test.each([
    ["", "uid 0 gid 0 home /root groups"],
    ["app", "uid 1000 gid 1001 home /home/app groups 33 10"],
    ["1000", "uid 1000 gid 1001 home /home/app groups 33 10"],
    ["app:audio", "uid 1000 gid 29 home /home/app groups"],
    ["app:77", "uid 1000 gid 77 home /home/app groups"],
    ["4242", "uid 4242 gid 0 home / groups"],
    ["4242:4343", "uid 4242 gid 4343 home / groups"],
    [":web", "uid 0 gid 33 home /root groups"],
    ["nobody", "no such user"],
    ["bad", "no such user"],
    ["app:nogroup", "no such group"],
    ["99999999999", "no such user"],
  ])("as Docker does: %j", (spec, expected) => {
    expect(who(spec)).toBe(expected);
  });

  test("in files with lines of any length", () => {
    expect(who("app", { passwd: `${"x".repeat(100_000)}\n${passwd}` })).toContain("uid 1000");
    expect(who("app", { passwd: "" })).toBe("no such user");
    expect(who("app", { passwd: "app:x:5:6::/h:/s" })).toBe("uid 5 gid 6 home /h groups 33 10");
  });
});

describe("the kernel's log", () => {
  const killed =
    "Out of memory: Killed process 463 (tail) total-vm:199448kB, anon-rss:197248kB, file-rss:116kB, shmem-rss:0kB, UID:0";
  test.each([
    [`3,1234,10736628,-;${killed}`, "killed 463 tail 202100736"],
    [
      `3,1,1,-;Memory cgroup out of memory: Killed process 7 (a) total-vm:1kB) total-vm:2kB, anon-rss:1kB`,
      "killed 7 a) total-vm:1kB 1024",
    ],
    ["6,339,5140900,-;NET: Registered PF_INET protocol family", "nothing"],
    [`12,1,1,-;${killed}`, "nothing"],
    ["garbage", "nothing"],
  ])("tells of OOM kills, and programs can't forge them: %s", (record, expected) => {
    expect(understood(["oom"], record).trim()).toBe(expected);
  });
});

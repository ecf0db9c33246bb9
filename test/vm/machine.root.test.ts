import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { diskName } from "../../src/vmm/command-line.js";
import { startMachine, startNetwork } from "../../src/vmm/index.js";
import { freePort } from "../helpers/free-port.js";
import { type Bench, busyboxBoot, connectGuest, openBench, shell } from "../helpers/machines.js";

const timeoutMs = 120_000;

describe("a machine under QEMU", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = openBench();
  });
  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  test("shows its disks in order, shares directories, pauses and resumes, and keeps nothing when killed", async () => {
    const root = await bench.busyboxDisk();
    const disks = ["one", "two", "three"].map((word) => {
      const file = path.join(bench.directory, `${word}, really.img`);
      writeFileSync(file, Buffer.alloc(1 << 20, word));
      return { path: file, readOnly: word !== "two" };
    });
    const [open, sealed] = ["open", "sealed, too"].map((name) => path.join(bench.directory, name));
    for (const directory of [open!, sealed!]) {
      mkdirSync(directory);
      writeFileSync(path.join(directory, "from-host"), `in ${path.basename(directory)}`);
    }
    const spec = await bench.spec({
      cpus: 2,
      disks: [{ path: root, readOnly: true }, ...disks],
      shares: [
        { tag: "open", hostPath: open!, readOnly: false },
        // Read-only on the host's side; the guest asks for read-write.
        { tag: "sealed", hostPath: sealed!, readOnly: true },
      ],
    });
    await using machine = await startMachine(spec, { driver: "qemu" });
    const guest = await connectGuest(machine.control, { timeoutMs });
    expect(guest.hello.cpus).toBe(2);
    const share = (tag: string) => ({ type: "virtiofs", tag, target: `/mnt/${tag}`, readOnly: false }) as const;
    await guest.boot({ ...busyboxBoot, mounts: [share("open"), share("sealed")] });

    const nodes = [1, 2, 3].map((i) => `mknod /tmp/${diskName(i)} b 254 ${i * 16}`).join(";");
    expect(await shell(guest, nodes, { privileged: true })).toMatchObject({ output: "" });
    const heads = await shell(guest, [1, 2, 3].map((i) => `head -c 3 /tmp/${diskName(i)}; echo`).join(";"));
    expect(heads.output.split("\n")).toEqual(["one", "two", "thr"]);
    const writes = await shell(
      guest,
      `echo x >/tmp/${diskName(2)} && echo written; echo x >/tmp/${diskName(1)} || echo refused`,
    );
    expect(writes.output).toMatch(/written[\s\S]*refused/);

    await machine.pause();
    const shared = shell(guest, "cat /mnt/open/from-host /mnt/sealed/from-host; echo in guest >/mnt/open/from-guest");
    await machine.resume();
    expect((await shared).output).toContain("in openin sealed, too");
    expect(readFileSync(path.join(open!, "from-guest"), "utf8")).toBe("in guest\n");
    expect((await shell(guest, "touch /mnt/sealed/new")).exit.code).not.toBe(0);

    await machine.kill();
    expect(await machine.exited).toMatchObject({ signal: "SIGKILL" });
    expect(() => process.kill(machine.pid, 0)).toThrow("ESRCH");
  });

  test("boots on a busy host, where the timer's interrupts come late", async () => {
    const spec = await bench.spec();
    await using machine = await startMachine(spec, { driver: "qemu" });
    // The thread that raises them gets what the guest's processor and a busy program leave of one processor.
    execFileSync("taskset", ["--all-tasks", "--cpu-list", "--pid", "0", String(machine.pid)]);
    execFileSync("chrt", ["--idle", "--pid", "0", String(machine.pid)]);
    const busy = spawn("taskset", ["--cpu-list", "0", process.execPath, "-e", "for (;;);"], { stdio: "ignore" });
    try {
      const guest = await connectGuest(machine.control, { timeoutMs: 300_000 });
      expect(guest.hello.cpus).toBe(1);
    } finally {
      busy.kill("SIGKILL");
    }
  });

  test("a kernel that finds no root ends the machine and leaves its last words", async () => {
    const empty = path.join(bench.directory, "empty.img");
    writeFileSync(empty, Buffer.alloc(1 << 20));
    const spec = await bench.spec({ bootDisk: empty });
    await using machine = await startMachine(spec, { driver: "qemu" });
    machine.control.resume();
    expect(await machine.exited).toMatchObject({ code: 0 });
    expect(await machine.consoleTail()).toContain("Unable to mount root fs");
    expect(readFileSync(spec.consoleLog, "utf8")).toContain("Kernel panic");
  });

  test("a disk that is not there is said before anything boots", async () => {
    const spec = await bench.spec({ disks: [{ path: path.join(bench.directory, "none.img"), readOnly: true }] });
    await expect(startMachine(spec, { driver: "qemu" })).rejects.toMatchObject({
      code: "VMM_FAILED",
      context: expect.stringContaining("none.img"),
    });
  });

  test("a published port reaches the guest; the guest reaches the host's loopback only when asked, gvproxy's API never", async () => {
    const server = createServer((_, response) => response.end("from the host"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const root = await bench.busyboxDisk();
    const probe = (url: string) => `timeout 5 wget -q -O - ${url} || echo "no ${url}"`;
    const ask = async (
      hostLoopback: boolean,
      use: (ask: (line: string) => Promise<string>, published: string) => Promise<void>,
    ) => {
      const spec = await bench.spec({ disks: [{ path: root, readOnly: true }] });
      await using network = await startNetwork(bench.home, { socketDir: spec.socketDir, hostLoopback });
      const hostPort = await freePort();
      await network.expose({ hostAddress: "127.0.0.1", hostPort, guestPort: 8080, protocol: "tcp" });
      await expect(
        network.expose({ hostAddress: "127.0.0.1", hostPort: port, guestPort: 1, protocol: "tcp" }),
      ).rejects.toMatchObject({ code: "PORT_TAKEN" });
      await using machine = await startMachine({ ...spec, network }, { driver: "qemu" });
      const guest = await connectGuest(machine.control, { timeoutMs });
      await guest.boot({ ...busyboxBoot, network: network.guest });
      await use(async (line) => (await shell(guest, line)).output, `http://127.0.0.1:${hostPort}`);
    };
    try {
      await ask(false, async (line, published) => {
        await line("echo hello from the guest >/tmp/index.html; httpd -p 8080 -h /tmp");
        expect(await (await fetch(published)).text()).toBe("hello from the guest\n");
        expect(await line(probe("http://192.168.127.1/services/forwarder/all"))).toContain("no http");
        expect(await line(probe(`http://192.168.127.254:${port}/`))).toContain("no http");
      });
      await ask(true, async (line) => {
        expect(await line(probe(`http://192.168.127.254:${port}/`))).toBe("from the host");
        // Static busybox resolves no names; its nslookup asks the server itself.
        expect(await line("nslookup host.aegis.internal 192.168.127.1")).toContain("192.168.127.254");
        expect(await line(probe("http://192.168.127.1/services/forwarder/all"))).toContain("no http");
      });
    } finally {
      server.close();
    }
  });
});

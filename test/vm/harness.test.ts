/** The harness in real guests: what a person who runs things in them can see. */

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { truncate } from "node:fs/promises";
import { connect, createServer } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Guest, GuestEvent, GuestMount, GuestProcess, ProcessSpec } from "../../src/guest/index.js";
import { openUpper } from "../../src/rootfs/tree-view.js";
import { createWritableDisk } from "../../src/rootfs/writable.js";
import { type Machine, type Network, startMachine, startNetwork } from "../../src/vmm/index.js";
import { freePort } from "../helpers/free-port.js";
import { type Bench, busyboxBoot, connectGuest, openBench } from "../helpers/machines.js";

const timeoutMs = 120_000;
const MiB = 1 << 20;

/** A guest that has said hello, and everything that has to go when it goes. */
interface Running extends AsyncDisposable {
  readonly machine: Machine;
  readonly guest: Guest;
  readonly network: Network;
  readonly hostPort: number;
  event<T extends GuestEvent["type"]>(type: T): Promise<Extract<GuestEvent, { type: T }>>;
}

const line = (script: string, change: Partial<ProcessSpec> = {}): ProcessSpec => ({
  argv: ["/bin/sh", "-c", script],
  env: ["PATH=/bin"],
  user: "",
  cwd: "/",
  ...change,
});

async function run(guest: Guest, spec: ProcessSpec, input = "") {
  const process = await guest.exec(spec);
  process.stdin.end(input);
  const [output, errors, exit] = await Promise.all([text(process.stdout), text(process.stderr), process.exited]);
  return { output, errors, exit };
}

describe("a guest under QEMU", () => {
  let bench: Bench;
  let root: string;
  let upper: string;

  beforeAll(async () => {
    bench = openBench();
    root = await bench.busyboxDisk();
    upper = path.join(bench.directory, "upper.img");
    await createWritableDisk(upper, { sizeBytes: 64 * MiB, uuid: randomBytes(16) });
    // As an instance whose DISK was raised: the file is larger than its filesystem.
    await truncate(upper, 300 * MiB);
  });
  afterAll(async () => {
    await bench?.[Symbol.asyncDispose]();
  });

  async function start(): Promise<Running> {
    const spec = await bench.spec({
      disks: [
        { path: root, readOnly: true },
        { path: upper, readOnly: false },
      ],
    });
    const network = await startNetwork(bench.home, { socketDir: spec.socketDir });
    const hostPort = await freePort();
    await network.expose({ hostAddress: "127.0.0.1", hostPort, guestPort: 8080, protocol: "tcp" });
    const machine = await startMachine({ ...spec, network }, { driver: "qemu" });
    const guest = await connectGuest(machine.control, { timeoutMs });
    const events: GuestEvent[] = [];
    const waiting: (() => void)[] = [];
    guest.on((event) => {
      events.push(event);
      for (const wake of waiting.splice(0)) wake();
    });
    return {
      machine,
      guest,
      network,
      hostPort,
      event: async (type) => {
        for (;;) {
          const at = events.findIndex((event) => event.type === type);
          if (at >= 0) return events.splice(at, 1)[0] as never;
          const next = new Promise<void>((resolve) => waiting.push(resolve));
          await Promise.race([next, guest.closed.then(() => Promise.reject(new Error(`ended without ${type}`)))]);
        }
      },
      [Symbol.asyncDispose]: async () => {
        await machine[Symbol.asyncDispose]();
        await network[Symbol.asyncDispose]();
      },
    };
  }

  const boot = (vm: Running, process?: ProcessSpec, mounts: GuestMount[] = []) =>
    vm.guest.boot({
      ...busyboxBoot,
      hostname: "web",
      root: { lowers: [0], upper: 1 },
      network: vm.network.guest,
      ports: [{ port: 8080, protocol: "tcp" }],
      extraHosts: [{ address: "10.0.0.9", name: "db" }],
      files: [{ path: "/secrets/key", mode: 0o400, owner: "1000:1000", content: Buffer.from("s3cret") }],
      errorLogs: [{ glob: "/var/log/*.jsonl", field: "errorMessage" }],
      mounts,
      process,
    });

  test("runs an app on localhost that the host reaches, streams, tells of errors and ends in order", async () => {
    await using vm = await start();
    const { guest } = vm;
    expect(guest.hello.memoryBytes).toBeGreaterThan(200 * MiB);
    const app = (await boot(
      vm,
      line(
        "echo up; echo hello from the app >/index.html; httpd -p 127.0.0.1:8080 -h /; trap 'echo bye; exit 7' TERM; cat; while :; do sleep 0.1; done",
      ),
    )) as GuestProcess;
    const appOutput = text(app.stdout);
    app.stdin.end("typed\n");
    expect(await vm.event("port")).toMatchObject({ port: 8080, listening: true });
    expect(await (await fetch(`http://127.0.0.1:${vm.hostPort}/index.html`)).text()).toBe("hello from the app\n");

    // The filesystem has grown with its disk; the machine's own files are there, and the mounts beneath the root are not.
    const facts = await run(
      guest,
      line(
        "busybox df -m / | busybox tail -1; cat /etc/hostname /etc/hosts /etc/resolv.conf; busybox grep -c aegis/disk /proc/mounts",
      ),
    );
    expect(Number(facts.output.split(/\s+/)[1])).toBeGreaterThan(200);
    expect(facts.output).toMatch(
      /\nweb\n[\s\S]*192\.168\.127\.2\tweb\n10\.0\.0\.9\tdb\n[\s\S]*nameserver 192\.168\.127\.1\n0\n$/,
    );

    const secret = "ls -l /secrets/key | busybox cut -c1-10; cat /secrets/key";
    expect((await run(guest, line(secret, { user: "1000:1000" }))).output).toBe("-r--------\ns3cret");
    expect((await run(guest, line("cat /secrets/key", { user: "1001" }))).output).toBe("");

    // Input and output of any size, both streams, exit statuses and signals.
    const big = await run(guest, line("cat; echo done >&2; exit 3"), "x".repeat(1_000_000));
    expect([big.output.length, big.errors, big.exit.code]).toEqual([1_000_000, "done\n", 3]);
    expect((await run(guest, line("kill -9 $$"))).exit).toMatchObject({ signal: 9, oomKilled: false });

    await guest.shutdown({ signal: 15, graceMs: 20_000 });
    expect(await app.exited).toMatchObject({ code: 7 });
    expect(await appOutput).toBe("up\ntyped\nbye\n");
    expect(await vm.machine.exited).toMatchObject({ code: 0 });
    await guest.closed;
  });

  test("says why something did not start, or died, and gives a real terminal", async () => {
    await using vm = await start();
    const { guest } = vm;
    await boot(vm);
    await run(
      guest,
      line("echo '#!/opt/python' >/script; echo x >/plain; busybox chmod +x /script /plain; echo y >/noexec"),
    );
    const start_ = async (change: Partial<ProcessSpec>) => (await run(guest, line("", change))).exit.startError;
    expect(await start_({ argv: ["nope"] })).toMatchObject({ errno: "ENOENT", path: "nope", stage: "exec" });
    expect(await start_({ argv: ["/script"] })).toMatchObject({ errno: "ENOENT", interpreter: "/opt/python" });
    expect(await start_({ argv: ["/plain"] })).toMatchObject({ errno: "ENOEXEC", path: "/plain" });
    expect(await start_({ argv: ["/noexec"] })).toMatchObject({ errno: "EACCES" });
    expect(await start_({ user: "nobody" })).toMatchObject({ stage: "user", path: "nobody" });
    expect(await start_({ cwd: "/missing" })).toMatchObject({ errno: "ENOENT", stage: "cwd" });
    await expect(guest.boot(busyboxBoot)).rejects.toMatchObject({ code: "GUEST_BOOT" });

    const hungry = run(guest, line("busybox tail /dev/zero"));
    expect(await vm.event("oom")).toMatchObject({ name: "busybox" });
    expect((await hungry).exit.oomKilled).toBe(true);

    await run(
      guest,
      line(`busybox mkdir -p /var/log; echo '{"m":{"errorMessage":"Connection error."}}' >/var/log/s.jsonl`),
    );
    expect(await vm.event("errorlog")).toMatchObject({ path: "/var/log/s.jsonl", line: "Connection error." });

    const shell = await guest.exec(line("read x; busybox stty size; exec cat", { tty: { rows: 30, cols: 100 } }));
    shell.resize(40, 120);
    shell.stdin.write("go\r");
    let screen = "";
    for await (const chunk of shell.stdout) {
      screen += chunk;
      // The program that reads now is in the terminal's foreground.
      if (screen.includes("40 120")) shell.stdin.write("\x03");
    }
    expect(await shell.exited).toMatchObject({ signal: 2 });

    const before = await guest.stats();
    expect(before.memoryUsedBytes).toBeGreaterThan(MiB);
    expect(before.cpuUsec).toBeGreaterThan(0);
    await guest.setClock();
  });

  /** A step talks to a socket of the host's, as `ssh` does with an agent. */
  async function forwardsSocket(guest: Guest): Promise<void> {
    const client = path.join(bench.directory, "unix_client");
    execFileSync("gcc", ["-static", "-O1", "-o", client, "harness/test/unix_client.c"]);
    const agent = createServer({ allowHalfOpen: true }, (socket) => {
      let asked = "";
      socket.on("data", (chunk) => {
        asked += chunk;
      });
      socket.on("end", () => socket.end(`agent heard ${asked.length}`));
    });
    const address = path.join(bench.directory, "agent.sock");
    agent.listen(address);
    await once(agent, "listening");
    try {
      const sandbox = {
        hostname: "step",
        network: "none" as const,
        mounts: [],
        files: [{ path: "/run/client", mode: 0o755, owner: "", content: readFileSync(client) }],
        sockets: [{ target: "/run/agent.sock", mode: 0o600, uid: 1000, gid: 1000, connect: () => connect(address) }],
        extraHosts: [],
      };
      const ask = line(
        "for i in 1 2; do echo x | /run/client /run/agent.sock; echo; done; /run/client /run/agent.sock",
        {
          sandbox,
          user: "1000:1000",
        },
      );
      const answer = await run(guest, ask, "y".repeat(300_000));
      expect(answer).toMatchObject({ output: "agent heard 2\nagent heard 2\nagent heard 300000", errors: "" });
      const denied = await run(guest, line("/run/client /run/agent.sock", { sandbox, user: "1001:1001" }));
      expect(denied.errors).toContain("Permission denied");
    } finally {
      agent.close();
    }
  }

  test("keeps what was synced through a power cut, and a build step leaves nothing but its work", async () => {
    {
      await using vm = await start();
      await boot(vm);
      await run(vm.guest, line("echo kept >/kept"));
      await vm.guest.sync();
      await vm.machine.kill();
    }
    {
      await using vm = await start();
      await boot(vm);
      expect((await run(vm.guest, line("cat /kept"))).output).toBe("kept\n");
      const step = await run(
        vm.guest,
        line(
          "echo $$; busybox hostname; cat /run/secrets/token; echo 1 2>/dev/null >/proc/sys/vm/swappiness; busybox ping -c1 -W1 192.168.127.1 >/dev/null 2>&1 || echo alone; echo work >/made; sleep 1000 &",
          {
            sandbox: {
              hostname: "buildkitsandbox",
              network: "none",
              mounts: [
                { type: "tmpfs", target: "/cache/deep", readOnly: false },
                { type: "bind", source: "/bin", target: "/tools", readOnly: true },
              ],
              files: [{ path: "/run/secrets/token", mode: 0o400, owner: "", content: Buffer.from("tok\n") }],
              extraHosts: [],
            },
          },
        ),
      );
      expect(step.output).toBe("1\nbuildkitsandbox\ntok\nalone\n");
      expect((await run(vm.guest, line("busybox ps | busybox grep -c '[s]leep 1000'"))).output).toBe("0\n");
      await forwardsSocket(vm.guest);
      await vm.guest.shutdown({ signal: 15, graceMs: 1000 });
      await vm.machine.exited;
    }
    await using written = await openUpper(upper);
    const names = [];
    for (const name of ["kept", "made", "cache", "tools", "run/secrets", "etc/resolv.conf", "secrets", "proc"]) {
      if (await written.lookup(name as never)) names.push(name);
    }
    expect(names).toEqual(["kept", "made"]);
  });
});

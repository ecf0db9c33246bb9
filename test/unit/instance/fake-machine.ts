/** A machine, a guest and a network that live in this process, for tests of what surrounds them. */
import { EventEmitter } from "node:events";
import { writeFile } from "node:fs/promises";
import { Duplex, PassThrough } from "node:stream";
import type {
  BootConfig,
  Guest,
  GuestEvent,
  GuestProcess,
  GuestStats,
  ProcessExit,
  ProcessSpec,
} from "../../../src/guest/types.js";
import type { Parts } from "../../../src/instance/supervisor/parts.js";
import type { MachineExit, PortForward } from "../../../src/vmm/types.js";

type Program = (process: FakeProcess) => void;

export class FakeProcess implements GuestProcess {
  readonly pid = 2;
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly signals: number[] = [];
  readonly sizes: string[] = [];
  readonly exited: Promise<ProcessExit>;
  readonly events = new EventEmitter();
  #settle: (exit: ProcessExit) => void = () => undefined;

  constructor(readonly spec: ProcessSpec) {
    this.exited = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  kill(signal: number): void {
    this.signals.push(signal);
    this.events.emit("signal", signal);
    if (signal === 9) this.exit({ code: undefined, signal: 9 });
  }

  resize(rows: number, cols: number): void {
    this.sizes.push(`${rows}x${cols}`);
  }

  exit(how: { code?: number | undefined; signal?: number | undefined; oomKilled?: boolean }): void {
    this.stdout.end();
    this.stderr.end();
    this.#settle({ code: how.code, signal: how.signal, oomKilled: how.oomKilled ?? false });
  }
}

export const quietStats: GuestStats = {
  cpuUsec: 0,
  memoryUsedBytes: 1,
  diskReadBytes: 0,
  diskWrittenBytes: 0,
  networkReceivedBytes: 0,
  networkSentBytes: 0,
  connections: 0,
  processes: 1,
};

export interface FakeHouse {
  readonly parts: Parts;
  /** Everything that happened, in order. */
  readonly log: string[];
  readonly boots: BootConfig[];
  readonly exposed: Set<string>;
  stats: GuestStats;
  /** The VMM dies. */
  power: (exit: MachineExit) => void;
  emit: (event: GuestEvent) => void;
}

/** `app` plays the application; `exec` plays commands beside it. */
export function fakeHouse(app: Program, exec: Program = (process) => process.exit({ code: 0 })): FakeHouse {
  const log: string[] = [];
  const exposed = new Set<string>();
  const key = (port: PortForward) => `${port.hostPort}`;
  const house: FakeHouse = {
    log,
    exposed,
    boots: [],
    stats: quietStats,
    power: () => undefined,
    emit: () => undefined,
    parts: {
      helloTimeoutMs: 1000,
      bootFiles: async () => ({ kernel: "/kernel", bootDisk: "/boot" }),
      lowers: async () => ["/lower"],
      createDisk: async (file) => {
        log.push("disk");
        await writeFile(file, "disk");
      },
      network: async () => ({
        pid: 0,
        socket: "/net",
        mac: "02:00:00:00:00:01",
        guest: { address: "192.168.127.2", prefix: 24, gateway: "192.168.127.1", dns: ["192.168.127.1"] },
        hostAlias: "192.168.127.254",
        expose: async (port) => void exposed.add(key(port)),
        unexpose: async (port) => void exposed.delete(key(port)),
        [Symbol.asyncDispose]: async () => void log.push("network down"),
      }),
      machine: async () => {
        log.push("machine up");
        const control = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
        const exited = new Promise<MachineExit>((resolve) => {
          house.power = (exit) => {
            control.destroy();
            resolve(exit);
          };
        });
        return {
          driver: "qemu",
          pid: process.pid,
          control,
          exited,
          pause: async () => void log.push("paused"),
          resume: async () => void log.push("resumed"),
          kill: async () => house.power({ code: null, signal: "SIGKILL", message: "" }),
          consoleTail: async () => "last words of the kernel",
          [Symbol.asyncDispose]: async () => {
            house.power({ code: null, signal: "SIGKILL", message: "" });
            log.push("machine down");
          },
        };
      },
      connectGuest: async (control) => guestOn(control as Duplex),
    },
  };

  function guestOn(control: Duplex): Guest {
    let main: FakeProcess | undefined;
    const closed = new Promise<void>((resolve) => control.once("close", resolve));
    void closed.then(() => {
      main?.stdout.end();
      main?.stderr.end();
    });
    return {
      hello: { protocolVersion: 1, harnessVersion: "test", kernelRelease: "6", memoryBytes: 1, cpus: 1 },
      boot: async (config) => {
        house.boots.push(config);
        main = new FakeProcess(config.process!);
        queueMicrotask(() => app(main!));
        return main;
      },
      exec: async (spec) => {
        const process = new FakeProcess(spec);
        setImmediate(() => exec(process));
        return process;
      },
      stats: async () => house.stats,
      setClock: async () => void log.push("clock"),
      sync: async () => void log.push("sync"),
      shutdown: async ({ signal }) => {
        log.push(`shutdown ${signal}`);
        main?.exit({ code: undefined, signal });
        setImmediate(() => house.power({ code: 0, signal: null, message: "" }));
      },
      on: (listener) => {
        house.emit = listener;
      },
      closed,
    };
  }
  return house;
}

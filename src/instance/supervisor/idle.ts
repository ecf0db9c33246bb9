/**
 * Idle: a machine on which nothing happens is paused, and a connection to one of its published ports wakes it. Nothing
 * happens means: no connection, no exec or attached client, and a guest whose processor, disks and network are quiet; a silent
 * installation is busy. While it is paused the published ports are held here, so that gvproxy has nothing to do.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { GuestStats } from "../../guest/types.js";
import type { Machine, PortForward } from "../../vmm/types.js";
import type { InstanceConfig } from "../types.js";
import type { LiveMachine } from "./session.js";

export interface IdleControls {
  /** An exec or a client is there. */
  inUse(): boolean;
  /** Milliseconds since the epoch. */
  lastUse(): number;
  paused(): "hand" | "idle" | undefined;
  pause(): Promise<void>;
  resume(): Promise<void>;
  say(text: string): void;
}

/**
 * What a guest that does nothing uses by itself (timers, kernel threads, being asked for this), per second. Emulated by QEMU an
 * idle guest was seen at 4 to 10 % of a processor, since there each interrupt costs so much more.
 */
const quiet = { cpuUsec: { krun: 40_000, qemu: 200_000 }, diskBytes: 64 << 10, networkBytes: 2 << 10 } as const;

export interface IdleWatch {
  /** The machine runs again: gives the ports back and passes on what has come meanwhile. */
  release(): Promise<void>;
  end(): void;
}

/** Watches when the instance asks for it. */
export function idleWatch(config: InstanceConfig, live: LiveMachine, controls: IdleControls): IdleWatch | undefined {
  const { idleMs } = config;
  if (idleMs === undefined) return undefined;
  const everyMs = Math.min(Math.max(idleMs / 5, 200), 10_000);
  let ended = false;
  let before: { stats: GuestStats; at: number } | undefined;
  let busyAt = Date.now();
  let gate: Gate | undefined;
  let timer: NodeJS.Timeout;

  const look = async () => {
    if (controls.paused()) return;
    const stats = await live.guest.stats();
    const at = Date.now();
    const busy =
      controls.inUse() ||
      stats.connections > 0 ||
      !before ||
      !isQuiet(before.stats, stats, at - before.at, live.machine.driver);
    if (busy) busyAt = at;
    before = { stats, at };
    if (at - Math.max(busyAt, controls.lastUse()) < idleMs) return;
    controls.say(`paused after ${idleMs / 1000} s without use; a connection to a published port wakes it`);
    await controls.pause();
    gate = await closeGate(config.ports, live, () => {
      controls.say("woken by a connection");
      void controls.resume();
    });
  };
  const again = () => {
    if (ended) return;
    timer = setTimeout(() => {
      // A guest that is on its way down does not answer any more.
      void look()
        .catch(() => undefined)
        .finally(again);
    }, everyMs);
  };
  again();
  return {
    async release() {
      busyAt = Date.now();
      before = undefined;
      const closed = gate;
      gate = undefined;
      await closed?.open();
    },
    end() {
      ended = true;
      clearTimeout(timer);
      gate?.abandon();
    },
  };
}

export function isQuiet(before: GuestStats, now: GuestStats, elapsedMs: number, driver: Machine["driver"]): boolean {
  const seconds = Math.max(elapsedMs, 1) / 1000;
  return (
    now.cpuUsec - before.cpuUsec <= quiet.cpuUsec[driver] * seconds &&
    disk(now) - disk(before) <= quiet.diskBytes * seconds &&
    network(now) - network(before) <= quiet.networkBytes * seconds
  );
}

const disk = (stats: GuestStats) => stats.diskReadBytes + stats.diskWrittenBytes;
const network = (stats: GuestStats) => stats.networkReceivedBytes + stats.networkSentBytes;

interface Gate {
  /** Ports back to gvproxy, waiting connections to the guest. */
  open(): Promise<void>;
  abandon(): void;
}

/** Takes the published TCP ports over from gvproxy; the first connection calls `wake`, which leads to `open`. */
async function closeGate(ports: readonly PortForward[], live: LiveMachine, wake: () => void): Promise<Gate> {
  const { network } = live;
  const tcp = network ? ports.filter((port) => port.protocol === "tcp") : [];
  const servers: Server[] = [];
  const waiting: { socket: Socket; port: PortForward }[] = [];
  for (const port of tcp) {
    await network?.unexpose(port);
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      if (waiting.push({ socket, port }) === 1) wake();
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port.hostPort, port.hostAddress, resolve);
    });
    servers.push(server);
  }
  return {
    async open() {
      for (const server of servers) server.close();
      // The listening sockets are closed in the loop's next turn; accepted ones stay.
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      for (const port of tcp) await network?.expose(port);
      for (const { socket, port } of waiting) passOn(socket, port);
    },
    abandon() {
      for (const server of servers) server.close();
      for (const { socket } of waiting) socket.destroy();
    },
  };
}

function passOn(socket: Socket, port: PortForward): void {
  const host = port.hostAddress === "0.0.0.0" ? "127.0.0.1" : port.hostAddress === "::" ? "::1" : port.hostAddress;
  const onward = connect({ port: port.hostPort, host, allowHalfOpen: true });
  onward.on("error", () => socket.destroy());
  socket.on("error", () => onward.destroy());
  socket.pipe(onward).pipe(socket);
  socket.resume();
}

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { helper } from "../../../src/vmm/parts/locate.js";

const ARP = 0x0806;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const SYN = 0x02;
const ACK = 0x10;

interface Packet {
  readonly ethertype?: number;
  readonly source?: string;
  readonly destination?: string;
  readonly protocol?: number;
  readonly port?: number;
  readonly flags?: number;
  readonly fragment?: number;
  /** IPv4 options, in words. */
  readonly options?: number;
}

/** An Ethernet frame with a little IPv4 in it. */
function frame(packet: Packet): Buffer {
  const header = 20 + (packet.options ?? 0) * 4;
  const bytes = Buffer.alloc(14 + header + 20);
  bytes.writeUInt16BE(packet.ethertype ?? 0x0800, 12);
  const ip = bytes.subarray(14);
  ip[0] = 0x40 | (header / 4);
  ip.writeUInt16BE(header + 20, 2);
  ip.writeUInt16BE(packet.fragment ?? 0, 6);
  ip[9] = packet.protocol ?? TCP;
  ip.set((packet.source ?? "192.168.127.2").split(".").map(Number), 12);
  ip.set((packet.destination ?? "93.184.216.34").split(".").map(Number), 16);
  ip.writeUInt16BE(packet.port ?? 443, header + 2);
  ip[header + 13] = packet.flags ?? SYN;
  return bytes;
}

const framed = (bytes: Buffer): Buffer => {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(bytes.length);
  return Buffer.concat([prefix, bytes]);
};

/** Sent last, to know that everything before has been judged. */
const marker = frame({ destination: "8.8.8.8", port: 4242 });

describe("the gate between a machine and gvproxy", () => {
  let directory: string;
  let gvproxy: Server;
  let gate: ChildProcess | undefined;

  beforeEach(async () => {
    directory = mkdtempSync(path.join(tmpdir(), "aegis-gate-"));
    gvproxy = createServer().listen(path.join(directory, "gv.sock"));
    await once(gvproxy, "listening");
  });
  afterEach(() => {
    gate?.kill("SIGKILL");
    gvproxy.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function open(...flags: string[]): Promise<{ machine: Socket; upstream: Socket; gate: ChildProcess }> {
    const accepted = once(gvproxy, "connection") as Promise<[Socket]>;
    const listening = path.join(directory, "net.sock");
    const child = spawn(
      helper("aegis-gate"),
      [String(process.pid), listening, path.join(directory, "gv.sock"), ...flags],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    gate = child;
    await once(child.stdout, "data");
    const machine = createConnection(listening);
    await once(machine, "connect");
    const [upstream] = await accepted;
    return { machine, upstream, gate: child };
  }

  /** Which of `packets` reach gvproxy. */
  async function judge(packets: readonly Packet[], ...flags: string[]): Promise<boolean[]> {
    const { machine, upstream } = await open(...flags);
    const sent = packets.map((packet, i) => {
      const bytes = frame(packet);
      bytes.writeUInt16BE(i, 0); // in the hardware address, which nobody judges
      return bytes;
    });
    const stream = Buffer.concat([...sent, marker].map(framed));
    // In odd pieces, so that frames arrive cut.
    for (let at = 0; at < stream.length; at += 37) machine.write(stream.subarray(at, at + 37));
    let got = Buffer.alloc(0);
    for await (const chunk of upstream) {
      got = Buffer.concat([got, chunk as Buffer]);
      if (got.includes(framed(marker))) break;
    }
    const passed = sent.map((bytes) => got.includes(framed(bytes)));
    const length = sent.filter((_, i) => passed[i]).reduce((sum, bytes) => sum + bytes.length + 4, 0);
    expect(got.length).toBe(length + framed(marker).length);
    return passed;
  }

  test("passes the world, DNS, DHCP, ping, ARP, and answers of published ports", async () => {
    const gateway = "192.168.127.1";
    const packets: Packet[] = [
      {},
      { ethertype: ARP },
      { options: 3 },
      { destination: "10.0.0.5", protocol: UDP },
      { destination: gateway, protocol: UDP, port: 53 },
      { destination: gateway, port: 53 },
      { destination: gateway, protocol: ICMP },
      { destination: gateway, port: 40_000, flags: SYN | ACK },
      { destination: gateway, port: 40_000, flags: ACK },
      { destination: gateway, protocol: UDP, port: 40_000, fragment: 0x2000 },
      { destination: "255.255.255.255", source: "0.0.0.0", protocol: UDP, port: 67 },
    ];
    expect(await judge(packets)).toEqual(packets.map(() => true));
  });

  test("drops what would reach gvproxy's API, the host's loopback, or pretend to be somebody else", async () => {
    const gateway = "192.168.127.1";
    const packets: Packet[] = [
      { destination: gateway, port: 80 },
      { destination: gateway, port: 80, flags: ACK },
      { destination: gateway, port: 80, options: 5 },
      { destination: gateway, port: 8080 },
      { destination: gateway, port: 40_000, flags: ACK, fragment: 0x2000 },
      { destination: gateway, port: 53, fragment: 0x0001 },
      { destination: "192.168.127.254", port: 22 },
      { destination: "192.168.127.254", protocol: UDP, port: 53 },
      { destination: "127.0.0.1", port: 22 },
      { destination: "0.0.0.0", port: 22 },
      { destination: "169.254.169.254", port: 80 },
      { destination: "224.0.0.251", protocol: UDP, port: 5353 },
      { destination: "192.168.127.255", protocol: UDP, port: 137 },
      { source: gateway },
      { source: "192.168.127.254" },
      { source: "10.1.2.3" },
      { ethertype: 0x86dd },
      { ethertype: 0x8100 },
    ];
    expect(await judge(packets)).toEqual(packets.map(() => false));
  });

  test("lets the host's loopback through when it was asked for, and still not the API", async () => {
    const packets: Packet[] = [
      { destination: "192.168.127.254", port: 22 },
      { destination: "192.168.127.1", port: 80 },
      { destination: "127.0.0.1", port: 22 },
    ];
    expect(await judge(packets, "host-loopback")).toEqual([true, false, false]);
  });

  test("passes everything to the machine unchanged", async () => {
    const { machine, upstream } = await open();
    const bytes = Buffer.alloc(1 << 20, "to the machine ");
    upstream.write(bytes);
    let got = Buffer.alloc(0);
    for await (const chunk of machine) {
      got = Buffer.concat([got, chunk as Buffer]);
      if (got.length >= bytes.length) break;
    }
    expect(got.equals(bytes)).toBe(true);
  });

  test("a length that no frame has ends it", async () => {
    const { machine, gate: child } = await open();
    machine.on("error", () => undefined);
    machine.write(Buffer.from([0x7f, 0xff, 0xff, 0xff]));
    expect(await once(child, "exit")).toEqual([104, null]);
  });

  test("it ends with the machine", async () => {
    const { machine, gate: child } = await open();
    machine.end();
    expect(await once(child, "exit")).toEqual([0, null]);
  });
});

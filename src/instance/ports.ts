/** Publishing: Docker's `-p` notation, and whether the host's side is free. */
import { createSocket } from "node:dgram";
import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer, isIP } from "node:net";
import { AegisError, hasErrno } from "../support/errors.js";
import type { PortForward } from "../vmm/types.js";

/** A port to publish; `hostPort` 0 takes any free one. */
export type PortRequest = PortForward;

const loopback = "127.0.0.1";
const notation =
  /^(?:(?<address>\[[^\]]+\]|[^:[\]]+):(?=[^:]*:))?(?:(?<host>\d+(?:-\d+)?)?:)?(?<guest>\d+(?:-\d+)?)(?:\/(?<protocol>tcp|udp))?$/i;

/**
 * `18789` (the same port on 127.0.0.1), `HOST:GUEST`, `IP:HOST:GUEST`, `IP::GUEST` and `:GUEST` (a free host port), ranges of
 * equal length, `/udp`.
 * @throws AegisError BAD_PORT
 */
export function parsePort(text: string): readonly PortRequest[] {
  const groups = notation.exec(text)?.groups;
  const wrong = (what: string) =>
    new AegisError("BAD_PORT", `-p ${text}: ${what}`, {
      hint: "write GUEST, HOST:GUEST or IP:HOST:GUEST, like -p 8080:80",
    });
  if (!groups) throw wrong("not a port to publish");
  const hostAddress = groups.address?.replace(/^\[|\]$/g, "") ?? loopback;
  if (isIP(hostAddress) === 0) throw wrong(`"${hostAddress}" is not an IP address`);
  const protocol = groups.protocol?.toLowerCase() === "udp" ? "udp" : "tcp";
  const guest = range(groups.guest!, wrong);
  const host =
    groups.host !== undefined ? range(groups.host, wrong, 0) : text.includes(":") ? guest.map(() => 0) : guest;
  if (host.length !== guest.length) throw wrong("the two ranges differ in length");
  return guest.map((guestPort, i) => ({ hostAddress, hostPort: host[i]!, guestPort, protocol }));
}

function range(text: string, wrong: (what: string) => AegisError, least = 1): readonly number[] {
  const [first = 0, last = first] = text.split("-").map(Number);
  if (first < least || last > 65_535 || first > 65_535) throw wrong(`ports are ${least} to 65535`);
  if (last < first) throw wrong("the range runs backwards");
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** EXPOSE of an image: `80`, `80/tcp`, `53/udp`, ranges. */
export function exposedPorts(exposed: Readonly<Record<string, object>> | undefined): readonly PortRequest[] {
  return Object.keys(exposed ?? {}).flatMap((key) => parsePort(key));
}

/** Checks that every host port is free right now and picks one where any will do. @throws AegisError PORT_TAKEN, PORT_DENIED */
export async function reservePorts(requests: readonly PortRequest[]): Promise<readonly PortForward[]> {
  const seen = new Map<string, PortRequest>();
  const forwards: PortForward[] = [];
  for (const request of requests) {
    const key = `${request.hostAddress}:${request.hostPort}/${request.protocol}`;
    const twin = seen.get(key);
    if (twin && request.hostPort !== 0) {
      if (twin.guestPort === request.guestPort) continue;
      throw new AegisError("PORT_TAKEN", `host port ${request.hostPort} is published twice`, {
        hint: "give each guest port a host port of its own",
      });
    }
    seen.set(key, request);
    forwards.push({ ...request, hostPort: await probe(request) });
  }
  return forwards;
}

/** True when the port could be bound right now. */
export async function isPortFree(request: PortRequest): Promise<boolean> {
  return await bind(request).then(
    () => true,
    () => false,
  );
}

async function probe(request: PortRequest): Promise<number> {
  try {
    return await bind(request);
  } catch (error) {
    const at = `port ${request.hostPort} on ${request.hostAddress}`;
    if (hasErrno(error, "EADDRINUSE")) {
      const owner = await portOwner(request.hostPort, request.protocol);
      throw new AegisError("PORT_TAKEN", `${at} is in use${owner ? ` by pid ${owner.pid} (${owner.name})` : ""}`, {
        hint: `stop it, or publish elsewhere: -p ${elsewhere(request.hostPort)}:${request.guestPort}`,
        details: { port: request.hostPort, ...owner },
        cause: error,
      });
    }
    if (hasErrno(error, "EACCES")) {
      throw new AegisError("PORT_DENIED", `${at} may not be opened by this user`, {
        hint: `take a port from 1024 on: -p ${request.hostPort + 8000}:${request.guestPort}`,
        cause: error,
      });
    }
    if (hasErrno(error, "EADDRNOTAVAIL")) {
      throw new AegisError("PORT_ADDRESS", `${request.hostAddress} is not an address of this machine`, {
        hint: "publish on 127.0.0.1 or 0.0.0.0",
        cause: error,
      });
    }
    throw error;
  }
}

const elsewhere = (port: number) => (port < 65_535 ? port + 1 : port - 1);

/** Binds and lets go; the number that was bound. */
function bind({ hostAddress, hostPort, protocol }: PortRequest): Promise<number> {
  return new Promise((resolve, reject) => {
    if (protocol === "udp") {
      const socket = createSocket(isIP(hostAddress) === 6 ? "udp6" : "udp4");
      socket.once("error", reject);
      socket.bind(hostPort, hostAddress, () => {
        const { port } = socket.address();
        socket.close(() => resolve(port));
      });
      return;
    }
    const server = createServer();
    server.once("error", reject);
    server.listen({ host: hostAddress, port: hostPort, exclusive: true }, () => {
      const address = server.address();
      const port = typeof address === "object" && address ? address.port : hostPort;
      server.close(() => resolve(port));
    });
  });
}

/** The process that holds a port, as far as /proc tells this user. */
async function portOwner(port: number, protocol: "tcp" | "udp"): Promise<{ pid: number; name: string } | undefined> {
  const inodes = new Set<string>();
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  for (const table of [protocol, `${protocol}6`]) {
    const text = await readFile(`/proc/net/${table}`, "utf8").catch(() => "");
    for (const line of text.split("\n")) {
      const fields = line.trim().split(/\s+/);
      // Field 3 is the socket's state: 0A listens, 07 is an unconnected UDP socket.
      if (fields[1]?.endsWith(`:${hex}`) && (fields[3] === "0A" || fields[3] === "07")) inodes.add(fields[9]!);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
      if (!inodes.has(/^socket:\[(\d+)\]$/.exec(link)?.[1] ?? "")) continue;
      const name = (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).trim();
      return { pid: Number(pid), name };
    }
  }
  return undefined;
}

/** `127.0.0.1:8080->80/tcp`. */
export const formatPort = (port: PortForward): string =>
  `${port.hostAddress.includes(":") ? `[${port.hostAddress}]` : port.hostAddress}:${port.hostPort}->${port.guestPort}/${port.protocol}`;

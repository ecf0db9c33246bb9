/**
 * A machine's network: one gvproxy (user-mode NAT, DNS, port forwards; no privilege) with aegis-gate in front of it, which
 * drops what gvproxy would grant any guest: its own control API, the host's loopback. Both die with this process.
 */
import { once } from "node:events";
import { request } from "node:http";
import { createConnection } from "node:net";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { AegisError, hasErrno } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { findGvproxy, helper } from "./parts/locate.js";
import { type BoundProcess, firstLine, startBound, startGuarded } from "./processes.js";
import type { MachineExit, Network, PortForward } from "./types.js";

export interface NetworkOptions {
  /** Private directory for sockets, short enough for sun_path. */
  readonly socketDir: string;
  /** Lets the guest reach the host's loopback as host.aegis.internal. */
  readonly hostLoopback?: boolean;
}

/** gvproxy's fixed plan (gvisor-tap-vsock 0.8, cmd/gvproxy). Its DHCP leases this address to this hardware address. */
const guestAddress = "192.168.127.2";
const mac = "5a:94:ef:e4:0c:ee";
const gateway = "192.168.127.1";
const hostAlias = "192.168.127.254";
const START_TIMEOUT_MS = 10_000;

/** @throws AegisError GVPROXY_MISSING, GVPROXY_FAILED, HELPER_MISSING */
export async function startNetwork(home: AegisHome, options: NetworkOptions): Promise<Network> {
  const program = findGvproxy(home);
  if (!program) {
    throw new AegisError("GVPROXY_MISSING", "gvproxy, which connects guests to the network, is not installed", {
      hint: "run `aegis doctor --fix`",
    });
  }
  const at = (name: string) => path.join(options.socketDir, name);
  const gvproxy = await startGuarded(
    program,
    ["-listen", `unix://${at("api.sock")}`, "-listen-qemu", `unix://${at("gv.sock")}`, "-ssh-port", "-1"],
    { stdio: ["ignore", "ignore", "pipe"], cwd: options.socketDir },
  );
  let gate: BoundProcess | undefined;
  try {
    const flags = options.hostLoopback ? ["host-loopback"] : [];
    gate = await startBound(helper("aegis-gate"), [String(process.pid), at("net.sock"), at("gv.sock"), ...flags], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    await Promise.race([
      firstLine(gate.child.stdout!, gate, (exit) => failed("aegis-gate", exit)),
      gvproxy.exited.then((exit) => Promise.reject(failed("gvproxy", exit))),
    ]);
    const api = (route: string, body: unknown) => call(at("api.sock"), route, body);
    await reachable(at("api.sock"), gvproxy);
    if (options.hostLoopback) {
      await api("/services/dns/add", { Name: "aegis.internal.", Records: [{ Name: "host", IP: hostAlias }] });
    }
    return assemble(at("net.sock"), gvproxy, gate, api);
  } catch (error) {
    await Promise.all([gvproxy.kill(), gate?.kill()]);
    throw error;
  }
}

function assemble(
  socket: string,
  gvproxy: BoundProcess,
  gate: BoundProcess,
  api: (route: string, body: unknown) => Promise<void>,
): Network {
  const target = (port: PortForward) => ({
    local: `${port.hostAddress.includes(":") ? `[${port.hostAddress}]` : port.hostAddress}:${port.hostPort}`,
    remote: `${guestAddress}:${port.guestPort}`,
    protocol: port.protocol,
  });
  return {
    pid: gvproxy.pid,
    socket,
    mac,
    guest: { address: guestAddress, prefix: 24, gateway, dns: [gateway] },
    hostAlias,
    expose: async (port) => {
      try {
        await api("/services/forwarder/expose", target(port));
      } catch (error) {
        throw portError(port, error);
      }
    },
    unexpose: (port) => api("/services/forwarder/unexpose", { local: target(port).local, protocol: port.protocol }),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([gate.kill(), gvproxy.kill()]);
    },
  };
}

function portError(port: PortForward, error: unknown): unknown {
  const said = error instanceof Error ? error.message : "";
  const where = `port ${port.hostPort}/${port.protocol} on ${port.hostAddress}`;
  if (/address already in use|proxy already running/.test(said)) {
    return new AegisError("PORT_TAKEN", `${where} is in use`, {
      hint: `stop what uses it, or publish elsewhere: -p ${port.hostPort + 1}:${port.guestPort}`,
      cause: error,
    });
  }
  if (/permission denied/.test(said)) {
    return new AegisError("PORT_DENIED", `${where} needs a privilege`, {
      hint: `publish a port from 1024 on: -p ${port.hostPort + 8000}:${port.guestPort}`,
      cause: error,
    });
  }
  return error;
}

/** One call of gvproxy's API (gvisor-tap-vsock, pkg/services/forwarder). */
function call(socketPath: string, route: string, body: unknown): Promise<void> {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
    const sent = request({ socketPath, path: route, method: "POST", headers, agent: false }, (response) => {
      let said = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        said += chunk;
      });
      response.once("end", () => {
        if (response.statusCode === 200) resolve();
        else reject(new AegisError("GVPROXY_FAILED", `gvproxy refuses ${route}: ${said.trim()}`));
      });
    });
    sent.once("error", (error) => {
      reject(new AegisError("GVPROXY_FAILED", "gvproxy does not answer", { cause: error }));
    });
    sent.end(text);
  });
}

/** Waits until something accepts on `socketPath`; gvproxy gives no sign of its own. */
async function reachable(socketPath: string, gvproxy: BoundProcess): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const socket = createConnection(socketPath);
    try {
      await once(socket, "connect");
      return;
    } catch (error) {
      if (gvproxy.child.exitCode !== null || gvproxy.child.signalCode !== null)
        throw failed("gvproxy", await gvproxy.exited);
      if (!hasErrno(error, "ENOENT", "ECONNREFUSED") || Date.now() > deadline) throw error;
      await setTimeout(2);
    } finally {
      socket.destroy();
    }
  }
}

function failed(name: string, exit: MachineExit): AegisError {
  return new AegisError("GVPROXY_FAILED", `${name} ended with status ${exit.code ?? exit.signal}`, {
    context: exit.message,
  });
}

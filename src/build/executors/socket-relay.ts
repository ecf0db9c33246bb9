/** Sockets of the host's for a container: stand-ins with the owner and mode that the step asks for, and nothing else of the host's. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, chownSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { type AegisHome, createSocketDirectory, removeSocketDirectory } from "../../support/home.js";
import type { RunMountSpec, RunRequest } from "./types.js";

export interface RelayedSockets extends AsyncDisposable {
  /** The request's mounts, sockets by their stand-ins. */
  readonly mounts: RunRequest["mounts"];
}

/** Each connection to a stand-in is one to the host's socket. */
export async function relaySockets(home: AegisHome, mounts: RunRequest["mounts"]): Promise<RelayedSockets> {
  if (!mounts.some(({ type }) => type === "socket")) return { mounts, [Symbol.asyncDispose]: async () => undefined };
  const directory = path.join(home.sockets, `s${process.pid}-${randomBytes(3).toString("hex")}`);
  const servers: Server[] = [];
  const open = new Set<Socket>();
  const dispose = async () => {
    for (const socket of open) socket.destroy();
    await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
    removeSocketDirectory(directory);
  };
  const standIn = async (mount: RunMountSpec, index: number): Promise<RunMountSpec> => {
    if (mount.type !== "socket") return mount;
    const server = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect({ path: mount.hostPath, allowHalfOpen: true });
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        open.add(from);
        from.pipe(to);
        from.on("error", () => to.destroy());
        from.on("close", () => open.delete(from));
      }
    });
    const hostPath = path.join(directory, String(index));
    server.listen(hostPath);
    await once(server, "listening");
    servers.push(server);
    chownSync(hostPath, mount.uid, mount.gid);
    chmodSync(hostPath, mount.mode);
    return { ...mount, hostPath };
  };
  createSocketDirectory(directory);
  try {
    const relayed: RunMountSpec[] = [];
    for (const [i, mount] of mounts.entries()) relayed.push(await standIn(mount, i));
    return { mounts: relayed, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

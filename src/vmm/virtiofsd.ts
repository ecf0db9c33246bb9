/** A file server for one shared directory: virtiofsd, as QEMU's vhost-user backend. */
import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { AegisError } from "../support/errors.js";
import { findVirtiofsd } from "./parts/locate.js";
import { type BoundProcess, startGuarded } from "./processes.js";
import type { ShareSpec } from "./types.js";

export interface ShareServer {
  readonly socket: string;
  readonly process: BoundProcess;
}

/**
 * Starts the server; its socket listens when this resolves.
 * @throws AegisError VIRTIOFSD_MISSING, SHARE_FAILED
 */
export async function startShare(share: ShareSpec, socketDir: string, index: number): Promise<ShareServer> {
  const program = findVirtiofsd();
  if (!program) {
    throw new AegisError(
      "VIRTIOFSD_MISSING",
      "virtiofsd, which shares directories with a QEMU guest, is not installed",
      {
        hint: "run `aegis doctor --fix`",
      },
    );
  }
  const socket = path.join(socketDir, `fs${index}.sock`);
  const root = process.getuid?.() === 0;
  const server = await startGuarded(
    program,
    [
      `--socket-path=${socket}`,
      "-o",
      `source=${share.hostPath.replace(/[\\,]/g, "\\$&")}`,
      "-o",
      root ? "sandbox=chroot" : "sandbox=namespace",
    ],
    { stdio: ["ignore", "ignore", "pipe"], ...(share.readOnly ? { readOnly: [share.hostPath] } : {}) },
  );
  let ended = false;
  server.exited.then(() => {
    ended = true;
  });
  while (!existsSync(socket) && !ended) await setTimeout(2);
  if (ended) {
    const { message } = await server.exited;
    throw new AegisError("SHARE_FAILED", `${share.hostPath} can't be shared: virtiofsd ended`, {
      hint: root
        ? "see what it says above"
        : "QEMU 7's virtiofsd works only as root; the newer one (1.10 and later) does without",
      context: message,
    });
  }
  return { socket, process: server };
}

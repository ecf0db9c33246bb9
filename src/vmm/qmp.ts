/** QEMU's machine protocol (docs/interop/qmp-spec): line-wise JSON, here over an inherited socket that only aegis holds. */
import type { Duplex } from "node:stream";
import { AegisError } from "../support/errors.js";

export interface Qmp {
  /** @throws AegisError VMM_FAILED */
  execute(command: string): Promise<unknown>;
}

interface Reply {
  readonly QMP?: unknown;
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

interface Waiter {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Negotiates and resolves once commands are taken; rejects when the connection ends first. */
export async function connectQmp(socket: Duplex): Promise<Qmp> {
  const waiting = new Map<number, Waiter>();
  let last = 0;
  let text = "";
  let greet: () => void = () => undefined;
  const greeted = new Promise<void>((resolve) => {
    greet = resolve;
  });
  const ended = new Promise<never>((_, reject) => {
    socket.once("close", () => {
      const error = new AegisError("VMM_FAILED", "QEMU has ended");
      for (const waiter of waiting.values()) waiter.reject(error);
      waiting.clear();
      reject(error);
    });
  });
  ended.catch(() => undefined);
  socket.on("error", () => undefined);
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (text + chunk).split("\n");
    text = lines.pop()!;
    for (const line of lines) take(JSON.parse(line) as Reply);
  });
  const take = (reply: Reply) => {
    if (reply.QMP) greet();
    const waiter = reply.id === undefined ? undefined : waiting.get(reply.id);
    if (!waiter) return;
    waiting.delete(reply.id!);
    if (reply.error) waiter.reject(new AegisError("VMM_FAILED", `QEMU refuses: ${reply.error.desc}`));
    else waiter.resolve(reply.return);
  };
  const execute = (command: string) =>
    new Promise<unknown>((resolve, reject) => {
      if (socket.destroyed) return reject(new AegisError("VMM_FAILED", "QEMU has ended"));
      const id = ++last;
      waiting.set(id, { resolve, reject });
      socket.write(`${JSON.stringify({ execute: command, id })}\n`);
    });
  await Promise.race([greeted, ended]);
  await execute("qmp_capabilities");
  return { execute };
}

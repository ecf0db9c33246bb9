/** This process's terminal in front of a process in a machine: raw mode, its size, signals, Docker's detach keys. */
import type { Interaction } from "../instance/client.js";
import type { ExitStory } from "../instance/exits.js";
import type { TerminalSize } from "../instance/messages.js";

export const terminalSize = (): TerminalSize | undefined =>
  // A terminal that nobody has told its size says 0.
  process.stdout.isTTY ? { rows: process.stdout.rows || 24, cols: process.stdout.columns || 80 } : undefined;

export interface FrontOptions {
  /** Keys go to the process as they are. */
  readonly tty: boolean;
  /** Ctrl-C and termination are passed on. */
  readonly signals: boolean;
  /** Second and third Ctrl-C without effect. */
  readonly onImpatience?: ((times: number) => void) | undefined;
}

/** The process's end, or "detached" when the person typed Ctrl-P Ctrl-Q. */
export async function front(interaction: Interaction, options: FrontOptions): Promise<ExitStory | "detached"> {
  const undo: (() => void)[] = [];
  const detached = new Promise<"detached">((resolve) => {
    if (options.tty && process.stdin.isTTY) undo.push(rawTerminal(interaction, () => resolve("detached")));
  });
  if (options.signals) undo.push(passSignals(interaction, options.onImpatience));
  try {
    const end = await Promise.race([interaction.exited, detached]);
    if (end === "detached") interaction.detach();
    return end;
  } finally {
    for (const step of undo) step();
  }
}

const ctrlP = 0x10;
const ctrlQ = 0x11;

function rawTerminal(interaction: Interaction, onDetach: () => void): () => void {
  const { stdin, stdout } = process;
  let held = false;
  const onData = (chunk: Buffer) => {
    const out: number[] = [];
    for (const byte of chunk) {
      if (held && byte === ctrlQ) return onDetach();
      if (held) out.push(ctrlP);
      held = byte === ctrlP;
      if (!held) out.push(byte);
    }
    if (out.length > 0) interaction.input(Uint8Array.from(out));
  };
  const onResize = () => {
    const size = terminalSize();
    if (size) interaction.resize(size);
  };
  stdin.setRawMode(true);
  stdin.on("data", onData);
  stdin.resume();
  stdout.on("resize", onResize);
  onResize();
  return () => {
    stdin.off("data", onData);
    stdin.pause();
    stdin.setRawMode(false);
    stdout.off("resize", onResize);
  };
}

const passed = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGQUIT: 3, SIGUSR1: 10, SIGUSR2: 12 } as const;

function passSignals(interaction: Interaction, onImpatience?: (times: number) => void): () => void {
  let interrupts = 0;
  const hooks = Object.entries(passed).map(([name, number]) => {
    const listener = () => {
      if ((name === "SIGINT" || name === "SIGTERM") && ++interrupts > 1) onImpatience?.(interrupts);
      else interaction.signal(number);
    };
    process.on(name, listener);
    return () => void process.off(name, listener);
  });
  return () => {
    for (const unhook of hooks) unhook();
  };
}

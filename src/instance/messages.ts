/** The operations a supervisor offers on its socket; see wire.ts for the frames. */
import type { GuestStats } from "../guest/types.js";
import { AegisError } from "../support/errors.js";
import type { ExitStory } from "./exits.js";

export interface TerminalSize {
  readonly rows: number;
  readonly cols: number;
}

/** The first message on a connection. */
export type Request =
  | {
      readonly op: "attach";
      readonly stdin: boolean;
      readonly output: boolean;
      /** The app waits for this client's output to be taken. */
      readonly foreground: boolean;
      readonly size?: TerminalSize | undefined;
    }
  | { readonly op: "exec"; readonly process: ExecRequest; readonly stdin: boolean }
  | { readonly op: "stop"; readonly signal?: number | undefined; readonly graceMs?: number | undefined }
  | { readonly op: "kill"; readonly signal: number }
  | { readonly op: "pause" }
  | { readonly op: "resume" }
  | { readonly op: "stats" }
  /** The guest writes all that it has in memory to its disks and stands still until the client's next word, or its end. */
  | { readonly op: "hold" };

export interface ExecRequest {
  readonly argv: readonly string[];
  /** Added to the app's environment. */
  readonly env: readonly string[];
  /** The app's when undefined. */
  readonly user: string | undefined;
  readonly cwd: string | undefined;
  readonly size: TerminalSize | undefined;
  readonly privileged: boolean;
}

/** What a client may say later. */
export type ClientMessage =
  | { readonly signal: number }
  | { readonly release: true }
  | { readonly resize: TerminalSize };

/** What the supervisor says. */
export type Reply =
  | { readonly done: true; readonly stats?: StatsReply | undefined }
  | { readonly exit: ExitStory }
  | { readonly error: WireError };

export interface StatsReply extends GuestStats {
  readonly memoryBytes: number;
  readonly cpus: number;
  /** Resident memory of the VMM on the host. */
  readonly hostBytes: number;
}

/** What a supervisor tells the command that launched it, one JSON line each. */
export type LaunchEvent =
  | { readonly type: "listening" }
  | { readonly type: "running" }
  | { readonly type: "failed"; readonly error: WireError };

/** What the launching command hands over on standard input; the only way secrets take on the host. */
export interface LaunchPayload {
  readonly secrets: readonly { readonly name: string; readonly base64: string }[];
  /** A client will attach: don't start the app before. */
  readonly attach: boolean;
}

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly exitCode: number;
  readonly context?: string | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

export function toWireError(error: unknown): WireError {
  if (error instanceof AegisError) {
    const { code, message, hint, exitCode, context, details } = error;
    return { code, message, hint, exitCode, context, details };
  }
  return { code: "INTERNAL", message: error instanceof Error ? error.message : String(error), exitCode: 125 };
}

export function fromWireError({ code, message, hint, exitCode, context, details }: WireError): AegisError {
  return new AegisError(code, message, {
    exitCode,
    ...(hint === undefined ? {} : { hint }),
    ...(context === undefined ? {} : { context }),
    ...(details === undefined ? {} : { details }),
  });
}

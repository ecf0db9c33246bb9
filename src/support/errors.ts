/**
 * Coded errors. Every failure a user can meet carries a stable code, one sentence of what is wrong and one of what to do.
 * Codes are never reused.
 */

export interface AegisErrorOptions {
  /** One sentence: what the user can do about it. */
  readonly hint?: string;
  /** The underlying failure, kept and not flattened into the message. */
  readonly cause?: unknown;
  /** Process exit status; 125 (aegis's own failure) unless told. */
  readonly exitCode?: number;
  /** Facts for machines (`--format json`): line, column, path, digest... Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Lines shown under the message (a Dockerfile excerpt, the last lines of a log). */
  readonly context?: string;
}

export class AegisError extends Error {
  override readonly name = "AegisError";
  /** Without prefix, e.g. `PORT_TAKEN`; printed as `AEGIS_E_PORT_TAKEN`. */
  readonly code: string;
  readonly hint: string | undefined;
  readonly exitCode: number;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly context: string | undefined;

  constructor(code: string, message: string, options: AegisErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? 125;
    this.details = options.details;
    this.context = options.context;
  }
}

/** True when `error` is a Node system error with one of the given codes (`ENOENT`, ...). */
export function hasErrno(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? "");
}

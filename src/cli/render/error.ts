/** Errors end here: coded, one sentence of what is wrong, one of what to do. */
import { AegisError } from "../../support/errors.js";

/** Text (or JSON) for standard error; stack traces only with AEGIS_DEBUG. */
export function renderError(error: unknown, options: { readonly json: boolean; readonly debug: boolean }): string {
  const known = error instanceof AegisError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  const code = `AEGIS_E_${known?.code ?? "INTERNAL"}`;
  const hint = known ? known.hint : "this is a defect of aegis; run again with AEGIS_DEBUG=1 and report what it prints";
  if (options.json) {
    return `${JSON.stringify({ error: { code, message, hint, details: known?.details, context: known?.context } })}\n`;
  }
  const lines = [`aegis: ${message} [${code}]`];
  if (known?.context) lines.push(known.context.trimEnd());
  if (hint) lines.push(`  ${hint}`);
  if (options.debug && error instanceof Error) {
    for (let at: unknown = error; at instanceof Error; at = at.cause) lines.push(at.stack ?? at.message);
  }
  return `${lines.join("\n")}\n`;
}

export const exitCodeOf = (error: unknown): number => (error instanceof AegisError ? error.exitCode : 125);

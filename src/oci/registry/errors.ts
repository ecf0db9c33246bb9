/** What a registry or the way to it can answer with, as coded errors that say what to do. */
import { AegisError } from "../../support/errors.js";

/** The first `code` in a chain of causes. */
export function causeCode(error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 6; at = at.cause, depth++) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === "string" && !(at instanceof AegisError)) return code;
    // Node joins the failures of several addresses.
    if (at instanceof AggregateError && at.errors[0] !== undefined) return causeCode(at.errors[0]);
  }
  return "";
}

const tls = /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA)/;
const unreachable = /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EHOSTDOWN|UND_ERR_CONNECT_TIMEOUT)$/;
const stalled = /^(UND_ERR_HEADERS_TIMEOUT|UND_ERR_BODY_TIMEOUT)$/;

/** Failures before or during an answer. */
export function networkError(error: unknown, url: URL): AegisError {
  if (error instanceof AegisError) return error;
  const code = causeCode(error);
  const { host } = url;
  const make = (name: string, message: string, hint: string) =>
    new AegisError(`REGISTRY_${name}`, message, { hint, cause: error, details: { host, cause: code } });
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return make(
      "DNS",
      `the host name ${url.hostname} can't be resolved`,
      "check its spelling, the network and its DNS",
    );
  }
  if (tls.test(code)) {
    const why = error instanceof Error && error.message ? `: ${error.message.split("\n")[0]}` : "";
    const hint = `if the registry has its own CA, put its certificate into /etc/docker/certs.d/${host}/ca.crt or name it in registries.json`;
    return make("TLS", `no trusted TLS connection to ${host}${why}`, hint);
  }
  if (unreachable.test(code)) {
    return make("UNREACHABLE", `${host} can't be reached`, "check the network, and HTTPS_PROXY if there is a proxy");
  }
  if (stalled.test(code)) return stalledError(url, error);
  return make("INTERRUPTED", `the connection to ${host} broke`, "try again; what was fetched is kept");
}

export const stalledError = (url: URL, cause?: unknown): AegisError =>
  new AegisError("REGISTRY_STALLED", `${url.host} stopped sending`, {
    hint: "try again; what was fetched is kept",
    cause,
    details: { host: url.host },
  });

export interface Refusal {
  readonly status: number;
  readonly url: URL;
  /** What was asked for, in the user's words: `node:22`. */
  readonly subject: string;
  /** The beginning of the body. */
  readonly body: string;
  readonly retryAfter?: string | undefined;
}

/** An answer that is not the wanted one. Distribution spec "Error Codes". */
export function refusalError({ status, url, subject, body, retryAfter }: Refusal): AegisError {
  const said = messageOf(body);
  const details = { status, host: url.host, ...(said ? { said } : {}) };
  const because = said ? `: ${said}` : "";
  const make = (code: string, message: string, hint: string) =>
    new AegisError(`REGISTRY_${code}`, message, { hint, details });
  if (status === 401) {
    const hint = `if it exists, log in with an account that may use it: aegis login ${url.host}`;
    return make("UNAUTHORISED", `${url.host} does not let us use ${subject}${because}`, hint);
  }
  if (status === 403) {
    return make(
      "DENIED",
      `${url.host} denies access to ${subject}${because}`,
      "use an account that has the right to it",
    );
  }
  if (status === 404) {
    return make("NOT_FOUND", `${url.host} has no ${subject}${because}`, "check the name and the tag");
  }
  if (status === 429) {
    const wait = retryAfter === undefined ? "wait a while" : `wait ${retryAfter} s`;
    return make("RATE_LIMIT", `${url.host} limits the rate of requests${because}`, `${wait}, log in, or use a mirror`);
  }
  if (status >= 500) return make("FAILED", `${url.host} failed with status ${status}${because}`, "try again later");
  return make("PROTOCOL", `${url.host} answered with status ${status} for ${subject}${because}`, "is it a registry?");
}

function messageOf(body: string): string {
  try {
    const parsed = JSON.parse(body) as { errors?: { code?: unknown; message?: unknown }[]; details?: unknown };
    const first = parsed.errors?.[0];
    const text = first?.message ?? first?.code ?? parsed.details;
    return typeof text === "string" ? printable(text) : "";
  } catch {
    return "";
  }
}

/** A registry's words, without control characters and no longer than a line. */
const printable = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f]+/g, " ").slice(0, 200);

export const protocolError = (url: URL, what: string): AegisError =>
  new AegisError("REGISTRY_PROTOCOL", `${url.host} does not follow the registry protocol: ${what}`, {
    hint: "is it a registry, and is a proxy in between that changes answers?",
    details: { host: url.host },
  });

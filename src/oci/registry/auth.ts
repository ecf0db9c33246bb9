/**
 * Authentication: challenges (RFC 7235), basic, and bearer tokens of a token server (distribution "Token Authentication
 * Specification" and its OAuth2 variant). Tokens are kept in memory, by scope, until shortly before they expire.
 */
import { AegisError } from "../../support/errors.js";
import type { Credentials } from "./credentials.js";
import { protocolError, refusalError } from "./errors.js";
import { type Http, parseUrl } from "./http.js";
import { isLoopback } from "./settings.js";

export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** Parses WWW-Authenticate, several challenges included. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  const token = /\s*,?\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/gy;
  for (let match = token.exec(header); match; match = token.exec(header)) {
    const [, name, quoted, plain] = match;
    const value = quoted?.replace(/\\(.)/g, "$1") ?? plain;
    if (value === undefined) challenges.push({ scheme: name!.toLowerCase(), parameters: {} });
    else challenges.at(-1)!.parameters[name!.toLowerCase()] ??= value;
    if (challenges.length === 0) break;
  }
  return challenges;
}

export interface Authenticator {
  /** The header for a request with these scopes, if one is known. */
  header(scopes: readonly string[]): string | undefined;
  /** Answers a 401; false when nothing more can be tried. */
  answer(challenge: string, scopes: readonly string[], url: URL, signal?: AbortSignal): Promise<boolean>;
}

interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

export interface AuthOptions {
  readonly http: Http;
  readonly credentials: () => Promise<Credentials | undefined>;
  /** Shown in errors. */
  readonly subject: string;
}

/** Holds what one registry has granted. */
export function createAuthenticator({ http, credentials, subject }: AuthOptions): Authenticator {
  const tokens = new Map<string, Token>();
  let basic: string | undefined;
  const keyOf = (scopes: readonly string[]) => [...scopes].sort().join(" ");

  async function fetchToken(
    parameters: Readonly<Record<string, string>>,
    scopes: readonly string[],
    asked: URL,
    signal: AbortSignal | undefined,
  ): Promise<Token> {
    const realm = parseUrl(parameters.realm ?? "", asked);
    if (!realm) throw protocolError(asked, "its token server has no address");
    const known = await credentials();
    if (known && realm.protocol !== "https:" && !isLoopback(realm.hostname) && asked.protocol === "https:") {
      throw protocolError(asked, "it wants credentials to be sent over plain HTTP");
    }
    const wanted = scopes.length > 0 ? scopes : (parameters.scope?.split(" ") ?? []);
    const answer =
      known?.kind === "identity"
        ? await http.request(realm, oauth(parameters.service, wanted, known.token, signal))
        : await http.request(withQuery(realm, parameters.service, wanted, known), {
            ...(known ? { authorization: basicHeader(known) } : {}),
            ...(signal ? { signal } : {}),
          });
    const body = (await answer.bytes(1 << 20)).toString("utf8");
    if (answer.status === 401 || answer.status === 403) {
      throw refusalError({ status: 401, url: asked, subject, body });
    }
    if (answer.status !== 200) throw refusalError({ status: answer.status, url: realm, subject, body });
    return parseToken(body, realm);
  }

  return {
    header(scopes) {
      const token = tokens.get(keyOf(scopes));
      if (token && token.expires > Date.now()) return `Bearer ${token.value}`;
      return basic;
    },
    async answer(challenge, scopes, url, signal) {
      const challenges = parseChallenges(challenge);
      const bearer = challenges.find((it) => it.scheme === "bearer");
      if (bearer) {
        const key = keyOf(scopes);
        tokens.set(key, await fetchToken(bearer.parameters, scopes, url, signal));
        return true;
      }
      if (!challenges.some((it) => it.scheme === "basic") || basic !== undefined) return false;
      const known = await credentials();
      if (known?.kind !== "basic") return false;
      basic = basicHeader(known);
      return true;
    },
  };
}

const basicHeader = ({ username, password }: Extract<Credentials, { readonly kind: "basic" }>): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;

function withQuery(
  realm: URL,
  service: string | undefined,
  scopes: readonly string[],
  known: Extract<Credentials, { readonly kind: "basic" }> | undefined,
): URL {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  if (known) url.searchParams.set("account", known.username);
  return url;
}

function oauth(
  service: string | undefined,
  scopes: readonly string[],
  refresh: string,
  signal: AbortSignal | undefined,
) {
  const form = new URLSearchParams({ grant_type: "refresh_token", client_id: "aegis", refresh_token: refresh });
  if (service !== undefined) form.set("service", service);
  if (scopes.length > 0) form.set("scope", scopes.join(" "));
  return {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: () => form.toString(),
    ...(signal ? { signal } : {}),
  } as const;
}

function parseToken(body: string, realm: URL): Token {
  let value: { token?: unknown; access_token?: unknown; expires_in?: unknown } = {};
  try {
    value = JSON.parse(body);
  } catch {
    // A token server's answer may hold a token, so it is not quoted.
  }
  const token = value?.token || value?.access_token;
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
    throw new AegisError("REGISTRY_PROTOCOL", `the token server ${realm.host} gave no token`, {
      details: { host: realm.host },
    });
  }
  // Specification: 60 seconds when nothing is said. Ten are left for the request itself.
  const seconds = typeof value.expires_in === "number" && value.expires_in >= 60 ? value.expires_in : 60;
  return { value: token, expires: Date.now() + (seconds - 10) * 1000 };
}

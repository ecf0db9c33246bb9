/**
 * HTTP as registries need it, on undici: redirects followed by hand so that credentials never reach another origin, retries
 * with back-off, proxies from the environment, own CAs, and a floor under the speed of an answer.
 */
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { SecureContext } from "node:tls";
import type { Dispatcher } from "undici";
import { causeCode, networkError, protocolError, stalledError } from "./errors.js";
import { proxyFor } from "./proxy.js";
import { secureContext } from "./trust.js";

export interface Timeouts {
  /** Milliseconds until connected, until the head of the answer, and between two pieces of a body. */
  readonly connect: number;
  readonly headers: number;
  readonly idle: number;
  /** A body must bring `bytes` in every window of `ms`, or it counts as stalled. */
  readonly floor: { readonly bytes: number; readonly ms: number };
}

export interface RetryPolicy {
  /** Tries in all. */
  readonly attempts: number;
  /** Milliseconds before the second try; doubles, and half of it is random. */
  readonly delay: number;
  /** The longest wait that a server may ask for with Retry-After, milliseconds. */
  readonly maxDelay: number;
}

export const defaultTimeouts: Timeouts = {
  connect: 15_000,
  headers: 60_000,
  idle: 30_000,
  floor: { bytes: 16 << 10, ms: 30_000 },
};
export const defaultRetry: RetryPolicy = { attempts: 5, delay: 500, maxDelay: 60_000 };

export interface HttpOptions {
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly timeouts?: Partial<Timeouts> | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  readonly ca?: readonly string[] | undefined;
  readonly verifyTls?: boolean | undefined;
}

export interface HttpRequest {
  readonly method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  /** Only sent to the origin of the first URL. */
  readonly authorization?: string | undefined;
  /** Made anew for every try. */
  readonly body?: (() => AsyncIterable<Uint8Array> | Buffer | string) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Tries in all; for requests that must not be repeated. */
  readonly attempts?: number;
}

export interface HttpResponse {
  readonly status: number;
  readonly url: URL;
  header(name: string): string | undefined;
  /** At most `limit` bytes. @throws AegisError REGISTRY_PROTOCOL when there is more */
  bytes(limit: number): Promise<Buffer>;
  /** The body, guarded against stalling. */
  stream(): AsyncGenerator<Uint8Array>;
  /** Throws the body away. */
  discard(): Promise<void>;
}

export interface Http {
  /** The answer, whatever its status. @throws AegisError REGISTRY_* for failures of the network */
  request(url: URL, request?: HttpRequest): Promise<HttpResponse>;
  close(): Promise<void>;
  readonly retry: RetryPolicy;
  readonly timeouts: Timeouts;
}

const maxRedirects = 10;
const retriedStatus = new Set([408, 425, 429, 500, 502, 503, 504]);
const retriedCodes =
  /^(ECONNRESET|EPIPE|ETIMEDOUT|EAI_AGAIN|UND_ERR_(SOCKET|CONNECT_TIMEOUT|HEADERS_TIMEOUT|BODY_TIMEOUT|REQ_CONTENT_LENGTH_MISMATCH))$/;

export const isTransient = (error: unknown): boolean => retriedCodes.test(causeCode(error));

/** Opens a client; connections are kept until `close`. */
export function createHttp(options: HttpOptions = {}): Http {
  const timeouts = { ...defaultTimeouts, ...options.timeouts };
  const retry = { ...defaultRetry, ...options.retry };
  const dispatchers = new Map<string, Dispatcher>();
  let context: Promise<SecureContext> | undefined;

  async function dispatcherFor(url: URL): Promise<Dispatcher> {
    const proxy = proxyFor(url, options.env ?? process.env);
    const key = `${url.protocol} ${proxy?.href}`;
    const found = dispatchers.get(key);
    if (found) return found;
    const { Agent, ProxyAgent } = await import("undici");
    if (url.protocol === "https:") context ??= secureContext(options.ca ?? [], options.env);
    const trusted = await context;
    const connect = {
      timeout: timeouts.connect,
      rejectUnauthorized: options.verifyTls ?? true,
      ...(trusted ? { secureContext: trusted } : {}),
    };
    const common = { connections: 16, headersTimeout: timeouts.headers, bodyTimeout: timeouts.idle };
    const made = proxy
      ? new ProxyAgent({ ...common, uri: proxy.href, requestTls: connect })
      : new Agent({ ...common, connect });
    dispatchers.set(key, made);
    return made;
  }

  async function once(url: URL, request: HttpRequest, authorization: string | undefined): Promise<HttpResponse> {
    const { request: send } = await import("undici");
    const answer = await send(url, {
      dispatcher: await dispatcherFor(url),
      method: request.method ?? "GET",
      headers: { "user-agent": "aegis", ...request.headers, ...(authorization ? { authorization } : {}) },
      body: bodyOf(request),
      ...(request.signal ? { signal: request.signal } : {}),
    });
    return responseOf(answer, url, timeouts);
  }

  /** Follows redirects of requests without a body. */
  async function followed(first: URL, request: HttpRequest): Promise<HttpResponse> {
    let url = first;
    for (let hops = 0; ; hops++) {
      const answer = await once(url, request, url.origin === first.origin ? request.authorization : undefined);
      const location = answer.header("location");
      const follows = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined;
      if (!follows || !["GET", "HEAD", undefined].includes(request.method)) return answer;
      await answer.discard();
      if (hops === maxRedirects) throw protocolError(first, "it redirects without end");
      const next = parseUrl(location, url);
      if (!next) throw protocolError(first, "it redirects to something that is no address");
      if (url.protocol === "https:" && next.protocol !== "https:")
        throw protocolError(url, "it redirects from TLS to plain HTTP");
      url = next;
    }
  }

  return {
    retry,
    timeouts,
    async request(url, request = {}) {
      const attempts = request.attempts ?? retry.attempts;
      for (let attempt = 1; ; attempt++) {
        request.signal?.throwIfAborted();
        let wait: number | undefined;
        try {
          const answer = await followed(url, request);
          if (attempt >= attempts || !retriedStatus.has(answer.status)) return answer;
          wait = retryAfter(answer.header("retry-after"));
          if (wait !== undefined && wait > retry.maxDelay) return answer;
          await answer.discard();
        } catch (error) {
          request.signal?.throwIfAborted();
          if (attempt >= attempts || !isTransient(error)) throw networkError(error, url);
        }
        await sleep(wait ?? backOff(retry, attempt), undefined, request.signal ? { signal: request.signal } : {});
      }
    },
    async close() {
      await Promise.all([...dispatchers.values()].map((dispatcher) => dispatcher.destroy()));
      dispatchers.clear();
    },
  };
}

/** Milliseconds before the next try: exponential, half of it random so that clients don't come back together. */
export const backOff = (retry: RetryPolicy, attempt: number): number =>
  Math.min(retry.maxDelay, retry.delay * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);

function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

function bodyOf(request: HttpRequest): Readable | Buffer | string | null {
  const body = request.body?.() ?? null;
  return body === null || typeof body === "string" || Buffer.isBuffer(body) ? body : Readable.from(body);
}

export function parseUrl(text: string, base: URL): URL | undefined {
  const url = URL.canParse(text, base.href) ? new URL(text, base) : undefined;
  return url?.protocol === "http:" || url?.protocol === "https:" ? url : undefined;
}

function responseOf(answer: Dispatcher.ResponseData, url: URL, timeouts: Timeouts): HttpResponse {
  const header = (name: string) => {
    const value = answer.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  };
  return {
    status: answer.statusCode,
    url,
    header,
    async bytes(limit) {
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of this.stream()) {
        size += chunk.length;
        if (size > limit) throw protocolError(url, `an answer is larger than ${limit} bytes`);
        chunks.push(Buffer.from(chunk));
      }
      return Buffer.concat(chunks);
    },
    async *stream() {
      let seen = 0;
      let stalled = false;
      const watch = setInterval(() => {
        stalled = seen < timeouts.floor.bytes;
        seen = 0;
        if (stalled) answer.body.destroy(stalledError(url));
      }, timeouts.floor.ms);
      try {
        for await (const chunk of answer.body as AsyncIterable<Buffer>) {
          seen += chunk.length;
          yield chunk;
        }
      } catch (error) {
        throw stalled ? stalledError(url, error) : networkError(error, url);
      } finally {
        clearInterval(watch);
        // Abandoned half-way: undici reports that as an error event, which nobody needs.
        if (!answer.body.readableEnded) answer.body.on("error", () => undefined).destroy();
      }
    },
    async discard() {
      await answer.body.dump({ limit: 64 << 10 }).catch(() => undefined);
    },
  };
}

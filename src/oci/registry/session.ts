/**
 * One repository of one registry and its mirrors: finds out which protocol is spoken, authenticates, and names requests'
 * scopes. Distribution spec 1.1, "Endpoints".
 */
import { AegisError } from "../../support/errors.js";
import { familiarName, type Reference } from "../references.js";
import { type Authenticator, createAuthenticator } from "./auth.js";
import { type Credentials, findCredentials } from "./credentials.js";
import { causeCode, refusalError } from "./errors.js";
import { createHttp, type Http, type HttpOptions, type HttpRequest, type HttpResponse } from "./http.js";
import { type Endpoint, endpointsOf, isLoopback, registrySettings } from "./settings.js";

export interface RegistryOptions extends Pick<HttpOptions, "timeouts" | "retry"> {
  /** For proxies, docker's config.json and credential helpers; this process's unless told. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** JSON file with mirrors, own CAs and insecure registries. */
  readonly settingsFile?: string | undefined;
  /** Directories with `<host>/*.crt`; Docker's `/etc/docker/certs.d` unless told. */
  readonly certificateDirectories?: readonly string[] | undefined;
  /** Instead of what docker's config.json says. */
  readonly credentials?: ((domain: string) => Promise<Credentials | undefined>) | undefined;
  /** Blobs that move at the same time. */
  readonly concurrency?: number | undefined;
  /** Bytes of a piece when an upload goes in pieces. */
  readonly chunkSize?: number | undefined;
}

/** A repository at one endpoint. */
export interface Place {
  readonly endpoint: Endpoint;
  readonly http: Http;
  /** What requests here need to be allowed, in the token server's words. */
  readonly scopes: readonly string[];
  /** Sends a request below `/v2/<repository>/`, or to an address that an answer named. */
  call(target: string | URL, request?: HttpRequest, scopes?: readonly string[]): Promise<HttpResponse>;
  /** The coded error for an answer that is not the wanted one. */
  refuse(answer: HttpResponse, subject?: string): Promise<AegisError>;
}

export interface Session extends AsyncDisposable {
  readonly reference: Reference;
  readonly options: RegistryOptions;
  /** Mirrors first when pulling; the registry itself is last. */
  readonly places: readonly Place[];
}

const certificates = ["/etc/docker/certs.d"];

/** Opens a session for what `reference` names. Nothing is sent yet. */
export async function openSession(
  reference: Reference,
  actions: "pull" | "pull,push",
  options: RegistryOptions,
): Promise<Session> {
  const env = options.env ?? process.env;
  const settings = await registrySettings(reference.domain, {
    file: options.settingsFile,
    certificateDirectories: options.certificateDirectories ?? certificates,
  });
  const credentials = options.credentials ?? ((domain: string) => findCredentials(domain, env));
  const all = endpointsOf(reference.domain, settings);
  const clients: Http[] = [];
  const places = (actions === "pull" ? all : all.slice(-1)).map((endpoint) => {
    const { verifyTls } = endpoint;
    const http = createHttp({ env, timeouts: options.timeouts, retry: options.retry, ca: settings.ca, verifyTls });
    clients.push(http);
    const subject = familiarName(reference);
    const auth = createAuthenticator({ http, subject, credentials: () => credentials(endpoint.domain) });
    return createPlace(endpoint, http, auth, reference, actions);
  });
  return {
    reference,
    options,
    places,
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}

function createPlace(
  endpoint: Endpoint,
  http: Http,
  auth: Authenticator,
  reference: Reference,
  actions: string,
): Place {
  const path = endpoint.prefix === "" ? reference.path : `${endpoint.prefix}/${reference.path}`;
  const own = [`repository:${path}:${actions}`];
  let base: Promise<URL> | undefined;

  async function call(target: string | URL, request: HttpRequest = {}, scopes: readonly string[] = own) {
    base ??= findBase(endpoint, http, request.signal);
    const origin = await base;
    const url = typeof target === "string" ? new URL(`/v2/${path}/${target}`, origin.href) : target;
    // Uploads may be sent to another host; what this registry granted is not for that one.
    const trusted = url.origin === origin.origin;
    for (let tries = 0; ; tries++) {
      const authorization = trusted ? auth.header(scopes) : undefined;
      const answer = await http.request(url, { ...request, ...(authorization ? { authorization } : {}) });
      const challenge = answer.header("www-authenticate");
      if (answer.status !== 401 || challenge === undefined || !trusted || tries === 2) return answer;
      if (!(await auth.answer(challenge, scopes, url, request.signal))) return answer;
      await answer.discard();
    }
  }

  return {
    endpoint,
    http,
    scopes: own,
    call,
    async refuse(answer, subject = familiarName(reference)) {
      const body = (await answer.bytes(1 << 20).catch(() => Buffer.alloc(0))).toString("utf8");
      const retryAfter = answer.header("retry-after");
      return refusalError({ status: answer.status, url: answer.url, subject, body, retryAfter });
    },
  };
}

const certificateProblem = /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH)/;

/**
 * TLS where it is spoken; plain HTTP only on loopback and where it was configured. On loopback it is tried first: nobody
 * listens in there, and it is what speaks there.
 */
export async function findBase(endpoint: Endpoint, http: Http, signal: AbortSignal | undefined): Promise<URL> {
  const secure = endpoint.base;
  if (!endpoint.allowHttp) return secure;
  const plain = new URL(secure.href.replace(/^https:/, "http:"));
  const [first, second] = isLoopback(secure.hostname) ? [plain, secure] : [secure, plain];
  try {
    const answer = await http.request(new URL("/v2/", first.href), { attempts: 1, ...(signal ? { signal } : {}) });
    await answer.discard();
    // What TLS servers say to those who forget to speak it.
    return first === plain && answer.status === 400 ? second : first;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof AegisError && certificateProblem.test(causeCode(error.cause))) throw error;
    // It answered, if strangely; what it says next has its own error.
    if (error instanceof AegisError && error.code === "REGISTRY_PROTOCOL") return first;
    return second;
  }
}

/** Tries the places in order; the last one's failure counts. */
export async function atFirstPlace<T>(session: Session, body: (place: Place) => Promise<T>): Promise<T> {
  for (const place of session.places.slice(0, -1)) {
    try {
      return await body(place);
    } catch (error) {
      if (!(error instanceof AegisError)) throw error;
    }
  }
  return await body(session.places.at(-1)!);
}

/**
 * GET for files of ADD and for contexts on the web: proxies of the environment, redirects followed by hand. A Dockerfile may
 * name any address, but a server far away can't send us on to one that only this machine or its network reaches.
 */
import { lookup } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import type { Response } from "undici";
import { proxyFor } from "../../oci/registry/proxy.js";
import { AegisError } from "../../support/errors.js";

const maxRedirects = 10;

const inside = new BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
] as const) {
  inside.addSubnet(network, bits, "ipv4");
}
for (const [network, bits] of [
  ["::", 127],
  ["fc00::", 7],
  ["fe80::", 10],
] as const) {
  inside.addSubnet(network, bits, "ipv6");
}

/** Loopback, link-local and private networks (RFC 1918, 4193, 6598). */
export function isInside(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && inside.check(address, family === 6 ? "ipv6" : "ipv4");
}

export interface WebAnswer {
  readonly response: Response;
  close(): Promise<void>;
}

/**
 * The answer after all redirects, whatever its status.
 * @throws AegisError DOWNLOAD_FAILED
 */
export async function get(
  address: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal | undefined,
): Promise<WebAnswer> {
  const { Agent, ProxyAgent, fetch } = await import("undici");
  /** Set once an address inside has been named by the user himself. */
  let insideAllowed = false;
  let url = new URL(address);
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const first = hop === 0;
    const admit = (host: string): boolean => {
      if (!isInside(host)) return true;
      if (first) insideAllowed = true;
      return insideAllowed;
    };
    const refused = (host: string) =>
      failed(
        address,
        `it redirects to ${url.host}, which is ${host}, an address of this machine's own network`,
        undefined,
      );
    const literal = url.hostname.replace(/^\[|\]$/g, "");
    if (!admit(literal)) throw refused(literal);
    const proxy = proxyFor(url, process.env);
    const guarded: LookupFunction = (name, options, callback) =>
      lookup(name, { ...options, all: true }, (error, found) => {
        const bad = error ? undefined : found.find((it) => !admit(it.address));
        if (error || bad) callback(error ?? refused(bad!.address), []);
        else if (options.all) callback(null, found);
        else callback(null, found[0]!.address, found[0]!.family);
      });
    const dispatcher = proxy ? new ProxyAgent({ uri: proxy.href }) : new Agent({ connect: { lookup: guarded } });
    const close = () => dispatcher.destroy();
    try {
      const response = await fetch(url.href, { headers, redirect: "manual", signal: signal ?? null, dispatcher });
      const location = [301, 302, 303, 307, 308].includes(response.status) && response.headers.get("location");
      if (!location) return { response, close };
      await close();
      if (!URL.canParse(location, url.href)) throw failed(address, "it redirects to nowhere", undefined);
      url = new URL(location, url);
      if (!/^https?:$/.test(url.protocol)) throw failed(address, `it redirects to ${url.protocol}`, undefined);
    } catch (error) {
      await close();
      signal?.throwIfAborted();
      if (error instanceof AegisError) throw error;
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      if (cause instanceof AegisError) throw cause;
      throw failed(address, cause instanceof Error ? cause.message : String(cause), error);
    }
  }
  throw failed(address, `it redirects more than ${maxRedirects} times`, undefined);
}

export const failed = (url: string, why: string, cause: unknown) =>
  new AegisError("DOWNLOAD_FAILED", `${url} could not be fetched: ${why}`, {
    hint: "check the address and the network; what was fetched before is kept",
    cause,
  });

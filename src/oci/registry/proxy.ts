/** HTTP_PROXY, HTTPS_PROXY and NO_PROXY as Go's tools read them (golang.org/x/net/http/httpproxy). */
import { AegisError } from "../../support/errors.js";
import { isLoopback } from "./settings.js";

/** The proxy for `url`, or undefined to go directly. This machine is never reached through a proxy. */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const setting = (name: string) => env[name.toLowerCase()] || env[name.toUpperCase()] || undefined;
  const proxy = setting(url.protocol === "https:" ? "https_proxy" : "http_proxy");
  if (proxy === undefined || isLoopback(url.hostname) || isExcluded(url, setting("no_proxy") ?? "")) return undefined;
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
  if (URL.canParse(text) && /^https?:/.test(text)) return new URL(text);
  throw new AegisError("BAD_PROXY", "the proxy setting is not an http or https address", {
    hint: "check HTTP_PROXY and HTTPS_PROXY",
  });
}

function isExcluded(url: URL, list: string): boolean {
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const host = url.hostname.toLowerCase().replace(/^\[|\]$/g, "");
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((word) => word !== "")
    .some((word) => {
      if (word === "*") return true;
      if (word.includes("/")) return inNetwork(host, word);
      const [, name, only] = /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(word) ?? [];
      if (name === undefined || (only !== undefined && only !== port)) return false;
      const suffix = name.replace(/^\*?\./, ".");
      if (suffix.startsWith(".")) return host.endsWith(suffix);
      return host === suffix || host.endsWith(`.${suffix}`);
    });
}

/** IPv4 CIDR. */
function inNetwork(host: string, network: string): boolean {
  const [base, bits] = network.split("/");
  const [a, b] = [addressOf(host), addressOf(base ?? "")];
  if (a === undefined || b === undefined || !/^\d+$/.test(bits ?? "")) return false;
  const size = 2 ** (32 - Number(bits));
  return Math.floor(a / size) === Math.floor(b / size);
}

function addressOf(text: string): number | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  return parts?.every((part) => part < 256) ? parts.reduce((sum, part) => sum * 256 + part, 0) : undefined;
}

/** Proves that credentials work before they are kept, as `docker login` does. */
import { AegisError } from "../../support/errors.js";
import { createAuthenticator } from "./auth.js";
import { type Credentials, storeCredentials } from "./credentials.js";
import { protocolError, refusalError } from "./errors.js";
import { createHttp } from "./http.js";
import { findBase, type RegistryOptions } from "./session.js";
import { endpointsOf, registrySettings } from "./settings.js";

/** The registry that an address of any form means: `https://index.docker.io/v1/` is `docker.io`. */
export function registryDomain(text: string | undefined): string {
  const host = (text ?? "docker.io").replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  if (["", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"].includes(host)) return "docker.io";
  if (!/^[A-Za-z0-9.\-[\]:]+$/.test(host)) {
    throw new AegisError("BAD_REGISTRY", `"${text}" is not a registry`, {
      hint: "name its host, with a port if needed",
    });
  }
  return host;
}

/**
 * Checks credentials at the registry and keeps them; resolves to where they are kept.
 * @throws AegisError REGISTRY_*, CREDENTIAL_HELPER
 */
export async function login(domain: string, credentials: Credentials, options: RegistryOptions = {}): Promise<string> {
  const env = options.env ?? process.env;
  const settings = await registrySettings(domain, {
    file: options.settingsFile,
    certificateDirectories: options.certificateDirectories ?? ["/etc/docker/certs.d"],
  });
  const endpoint = endpointsOf(domain, settings).at(-1)!;
  const { timeouts, retry } = options;
  const http = createHttp({ env, timeouts, retry, ca: settings.ca, verifyTls: endpoint.verifyTls });
  try {
    const url = new URL("/v2/", (await findBase(endpoint, http, undefined)).href);
    const auth = createAuthenticator({ http, subject: domain, credentials: async () => credentials });
    let answer = await http.request(url);
    const challenge = answer.header("www-authenticate");
    if (answer.status === 401 && challenge && (await auth.answer(challenge, [], url))) {
      await answer.discard();
      answer = await http.request(url, { authorization: auth.header([]) });
    }
    const body = (await answer.bytes(1 << 20)).toString("utf8");
    if (answer.status === 404) throw protocolError(url, "there is no /v2/");
    if (answer.status !== 200) throw refusalError({ status: answer.status, url, subject: "these credentials", body });
  } finally {
    await http.close();
  }
  return await storeCredentials(domain, credentials, env);
}

/** Whom TLS connections to registries trust: Node's CAs, the system's as Go's tools and curl do, and what was configured. */
import { readFile } from "node:fs/promises";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";

/** Debian and Alpine, Fedora, openSUSE, macOS. */
const systemBundles = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** Made once for all connections of a client: reading hundreds of certificates takes tens of milliseconds. */
export async function secureContext(
  extra: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<SecureContext> {
  const bundles = env.SSL_CERT_FILE ? [env.SSL_CERT_FILE] : systemBundles;
  const system = await firstReadable(bundles);
  // Giving CAs replaces what Node trusts by itself, so all of that is named again.
  const more = env.NODE_EXTRA_CA_CERTS ? await firstReadable([env.NODE_EXTRA_CA_CERTS]) : "";
  return createSecureContext({ ca: [...rootCertificates, system, more, ...extra].filter((pem) => pem !== "") });
}

async function firstReadable(files: readonly string[]): Promise<string> {
  for (const file of files) {
    const pem = await readFile(file, "utf8").catch(() => "");
    if (pem !== "") return pem;
  }
  return "";
}

/** Debian's docker-registry on loopback, with or without TLS of an own CA and a token issuer. */

import { execFileSync, spawn } from "node:child_process";
import { createPrivateKey, createSign, randomUUID, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "../../helpers/free-port.js";

export interface RegistryServer extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** Where it keeps everything; may be emptied at any time. */
  readonly storage: string;
}

export interface TestCertificates extends AsyncDisposable {
  readonly directory: string;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** A CA and a certificate for 127.0.0.1 and localhost. */
export async function makeCertificates(): Promise<TestCertificates> {
  const directory = await mkdtemp(path.join(tmpdir(), "aegis-certs-"));
  const at = (name: string) => path.join(directory, name);
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: directory, stdio: "ignore" });
  openssl(
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "2",
    "-subj",
    "/CN=test-ca",
    "-keyout",
    "ca.key",
    "-out",
    "ca.crt",
  );
  openssl(
    "req",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-subj",
    "/CN=localhost",
    "-keyout",
    "server.key",
    "-out",
    "server.csr",
  );
  await writeFile(at("san.txt"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  openssl(
    "x509",
    "-req",
    "-in",
    "server.csr",
    "-CA",
    "ca.crt",
    "-CAkey",
    "ca.key",
    "-CAcreateserial",
    "-days",
    "2",
    "-extfile",
    "san.txt",
    "-out",
    "server.crt",
  );
  return {
    directory,
    ca: at("ca.crt"),
    certificate: at("server.crt"),
    key: at("server.key"),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

export interface RegistryOptions {
  readonly tls?: TestCertificates;
  readonly tokens?: { readonly realm: string; readonly certificates: TestCertificates };
}

export async function startRegistry(options: RegistryOptions = {}): Promise<RegistryServer> {
  const directory = await mkdtemp(path.join(tmpdir(), "aegis-registry-"));
  const port = await freePort();
  const config = {
    version: 0.1,
    log: { level: "error", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: directory }, delete: { enabled: true } },
    http: {
      addr: `127.0.0.1:${port}`,
      ...(options.tls ? { tls: { certificate: options.tls.certificate, key: options.tls.key } } : {}),
    },
    ...(options.tokens
      ? {
          auth: {
            token: {
              realm: options.tokens.realm,
              service: "test-registry",
              issuer: "test-issuer",
              rootcertbundle: options.tokens.certificates.certificate,
            },
          },
        }
      : {}),
  };
  await writeFile(path.join(directory, "config.yml"), JSON.stringify(config));
  const child = spawn("docker-registry", ["serve", path.join(directory, "config.yml")], { stdio: "ignore" });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const stop = async () => {
    child.kill("SIGKILL");
    await exited;
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await untilListening(port, exited);
  } catch (error) {
    await stop();
    throw error;
  }
  return { host: `127.0.0.1:${port}`, storage: path.join(directory, "docker"), [Symbol.asyncDispose]: stop };
}

async function untilListening(port: number, exited: Promise<void>): Promise<void> {
  let gone = false;
  void exited.then(() => {
    gone = true;
  });
  for (let tries = 0; tries < 600; tries++) {
    if (gone) throw new Error("docker-registry ended at once");
    const up = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (up) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("docker-registry does not listen");
}

export interface TokenIssuer extends AsyncDisposable {
  readonly realm: string;
  /** Queries and Authorization headers that were seen. */
  readonly requests: readonly {
    readonly url: URL;
    readonly authorization: string | undefined;
    readonly body: string;
  }[];
}

/** Grants everything to user `me` with password `secret`, pulls of `public/*` to everybody. */
export async function startTokenIssuer(certificates: TestCertificates): Promise<TokenIssuer> {
  const key = createPrivateKey(await readFile(certificates.key));
  const chain = new X509Certificate(await readFile(certificates.certificate)).raw.toString("base64");
  const requests: { url: URL; authorization: string | undefined; body: string }[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const body = await bodyOf(request);
      const url = new URL(request.url!, "http://issuer");
      requests.push({ url, authorization: request.headers.authorization, body });
      const form = new URLSearchParams(body);
      const isRefresh = form.get("grant_type") === "refresh_token" && form.get("refresh_token") === "refresh-me";
      const basic = request.headers.authorization === `Basic ${Buffer.from("me:secret").toString("base64")}`;
      if (request.headers.authorization !== undefined && !basic) {
        response.writeHead(401).end("{}");
        return;
      }
      const scopes = [...url.searchParams.getAll("scope"), ...(form.get("scope")?.split(" ") ?? [])];
      const token = sign(key, chain, accessFor(scopes, basic || isRefresh));
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ token, expires_in: 300 }));
    })();
  });
  const port = await listen(server);
  return {
    realm: `http://127.0.0.1:${port}/token`,
    requests,
    [Symbol.asyncDispose]: () => close(server),
  };
}

function accessFor(scopes: readonly string[], isUser: boolean) {
  return scopes.flatMap((scope) => {
    const [type, name, actions] = scope.split(":");
    const wanted = (actions ?? "").split(",");
    const granted = isUser ? wanted : wanted.filter((it) => it === "pull" && name!.startsWith("public/"));
    return granted.length > 0 ? [{ type, name, actions: granted }] : [];
  });
}

function sign(key: ReturnType<typeof createPrivateKey>, certificate: string, access: readonly object[]): string {
  const now = Math.floor(Date.now() / 1000);
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = encode({ typ: "JWT", alg: "RS256", x5c: [certificate] });
  const times = { exp: now + 300, nbf: now - 10, iat: now };
  const claims = encode({ iss: "test-issuer", sub: "me", aud: "test-registry", jti: randomUUID(), ...times, access });
  const signature = createSign("RSA-SHA256").update(`${head}.${claims}`).sign(key).toString("base64url");
  return `${head}.${claims}.${signature}`;
}

export async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

export async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

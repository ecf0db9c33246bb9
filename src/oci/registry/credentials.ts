/**
 * Credentials where Docker keeps them: `config.json` (auths, credsStore, credHelpers) and the credential helpers that it
 * names. Secrets are handed to helpers on standard input and never appear in an argument or a message.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { AegisError, hasErrno } from "../../support/errors.js";
import { replaceFile } from "../../support/files.js";
import { withLock } from "../../support/locks.js";

export type Credentials =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token. */
  | { readonly kind: "identity"; readonly token: string };

interface DockerConfig {
  readonly auths?: Readonly<Record<string, { readonly auth?: string; readonly identitytoken?: string } | null>>;
  readonly credsStore?: string;
  readonly credHelpers?: Readonly<Record<string, string>>;
}

/** `$DOCKER_CONFIG/config.json`, by default `~/.docker/config.json`. */
export const dockerConfigFile = (env: NodeJS.ProcessEnv): string =>
  path.join(env.DOCKER_CONFIG || path.join(env.HOME || homedir(), ".docker"), "config.json");

/** The key under which Docker keeps the credentials of a registry. */
const keyOf = (domain: string): string => (domain === "docker.io" ? "https://index.docker.io/v1/" : domain);

/** What is stored for `domain`, if anything. @throws AegisError BAD_DOCKER_CONFIG, CREDENTIAL_HELPER */
export async function findCredentials(domain: string, env: NodeJS.ProcessEnv): Promise<Credentials | undefined> {
  const config = await readConfig(dockerConfigFile(env));
  const helper = helperFor(config, domain);
  if (helper !== undefined) {
    const found = await helperGet(helper, keyOf(domain), env);
    if (found) return found;
  }
  return storedCredentials(config, domain);
}

const helperFor = (config: DockerConfig, domain: string): string | undefined =>
  config.credHelpers?.[keyOf(domain)] ?? config.credHelpers?.[domain] ?? (config.credsStore || undefined);

function storedCredentials(config: DockerConfig, domain: string): Credentials | undefined {
  // Docker has written the keys with and without scheme and path in the course of time.
  const bare = (key: string) => key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  const wanted = domain === "docker.io" ? ["index.docker.io", "docker.io", "registry-1.docker.io"] : [domain];
  const entries = Object.entries(config.auths ?? {});
  const entry = (entries.find(([key]) => key === keyOf(domain)) ??
    entries.find(([key]) => wanted.includes(bare(key))))?.[1];
  if (!entry) return undefined;
  if (entry.identitytoken) return { kind: "identity", token: entry.identitytoken };
  if (!entry.auth) return undefined;
  const text = Buffer.from(entry.auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 1) return undefined;
  return { kind: "basic", username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, "") };
}

/** Keeps credentials: in the configured helper, else in config.json (mode 0600). */
export async function storeCredentials(
  domain: string,
  credentials: Credentials,
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const file = dockerConfigFile(env);
  const helper = helperFor(await readConfig(file), domain);
  const [Username, Secret] =
    credentials.kind === "basic" ? [credentials.username, credentials.password] : ["<token>", credentials.token];
  if (helper !== undefined) {
    await runHelper(helper, "store", JSON.stringify({ ServerURL: keyOf(domain), Username, Secret }), env);
    return `the credential helper ${helper}`;
  }
  const entry =
    credentials.kind === "basic"
      ? { auth: Buffer.from(`${Username}:${Secret}`).toString("base64") }
      : { identitytoken: Secret };
  await updateConfig(file, (config) => ({ ...config, auths: { ...config.auths, [keyOf(domain)]: entry } }));
  return file;
}

/** Forgets credentials; true when there were some. */
export async function eraseCredentials(domain: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const file = dockerConfigFile(env);
  const config = await readConfig(file);
  const helper = helperFor(config, domain);
  const hadHelper = helper !== undefined && (await helperGet(helper, keyOf(domain), env)) !== undefined;
  if (hadHelper) await runHelper(helper, "erase", keyOf(domain), env);
  const keys = Object.keys(config.auths ?? {}).filter((key) => key === keyOf(domain) || key === domain);
  if (keys.length > 0) {
    await updateConfig(file, (it) => ({
      ...it,
      auths: Object.fromEntries(Object.entries(it.auths ?? {}).filter(([key]) => !keys.includes(key))),
    }));
  }
  return hadHelper || keys.length > 0;
}

async function readConfig(file: string): Promise<DockerConfig> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR")) return {};
    throw error;
  }
  try {
    const value: unknown = JSON.parse(text.trim() === "" ? "{}" : text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Reported below; the text may hold secrets, so the parser's excerpt of it is not passed on.
  }
  throw new AegisError("BAD_DOCKER_CONFIG", `${file} is not a JSON object`, { hint: "mend it or move it away" });
}

async function updateConfig(file: string, change: (config: DockerConfig) => DockerConfig): Promise<void> {
  await withLock(`${file}.lock`, async () => {
    await replaceFile(file, `${JSON.stringify(change(await readConfig(file)), null, "\t")}\n`, { mode: 0o600 });
  });
}

async function helperGet(helper: string, key: string, env: NodeJS.ProcessEnv): Promise<Credentials | undefined> {
  const answer = await runHelper(helper, "get", key, env);
  if (answer === undefined) return undefined;
  try {
    const { Username, Secret } = JSON.parse(answer) as { Username?: string; Secret?: string };
    if (!Secret) return undefined;
    if (Username === "<token>") return { kind: "identity", token: Secret };
    return Username ? { kind: "basic", username: Username, password: Secret } : undefined;
  } catch {
    throw new AegisError("CREDENTIAL_HELPER", `docker-credential-${helper} did not answer with JSON`);
  }
}

/** Standard output of a helper; undefined when it knows nothing of the registry. */
async function runHelper(
  helper: string,
  action: "get" | "store" | "erase",
  input: string,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const program = `docker-credential-${helper}`;
  const failed = (why: string, cause?: unknown) =>
    new AegisError("CREDENTIAL_HELPER", `${program} ${action} failed: ${why}`, {
      hint: "mend it, or take it out of docker's config.json",
      cause,
    });
  if (!/^[\w.-]+$/.test(helper)) throw failed("its name is not one of a program");
  return await new Promise((resolve, reject) => {
    const child = spawn(program, [action], { env, stdio: ["pipe", "pipe", "pipe"], timeout: 60_000 });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    child.on("error", (error) =>
      reject(failed(hasErrno(error, "ENOENT") ? "it is not installed" : error.message, error)),
    );
    child.on("close", (code) => {
      if (code === 0) resolve(out);
      else if (/credentials not found/i.test(out + err)) resolve(undefined);
      else reject(failed(`status ${code}${action === "get" && err ? `, ${err.trim().slice(0, 200)}` : ""}`));
    });
    // A helper that ends without reading its input closes the pipe; its status tells.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

/** `--secret` and `--ssh`: things that steps may use and that never become part of the image, the cache or a log. */
import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { AegisError } from "../support/errors.js";

type SecretReader = () => Promise<Uint8Array>;

/** BuildKit's limit. */
const maxSecret = 500 << 10;

/** @throws AegisError USAGE, SECRET_SOURCE_MISSING */
export function buildSecrets(words: readonly string[], env: NodeJS.ProcessEnv): Readonly<Record<string, SecretReader>> {
  const secrets: Record<string, SecretReader> = {};
  for (const word of words) {
    const fields = parseFields(word);
    const { id, type } = fields;
    if (!id)
      throw usage(`--secret "${word}" has no id`, "write it as --secret id=NAME,src=FILE or id=NAME,env=VARIABLE");
    const file = fields.src ?? fields.source;
    const variable = fields.env ?? (type === "env" ? (file ?? id) : undefined);
    if (variable !== undefined) secrets[id] = fromVariable(id, variable, env);
    else if (file === undefined && type === undefined && env[id] !== undefined) secrets[id] = fromVariable(id, id, env);
    else secrets[id] = fromFile(id, file ?? id);
  }
  return secrets;
}

function fromVariable(id: string, variable: string, env: NodeJS.ProcessEnv): SecretReader {
  const value = env[variable];
  if (value !== undefined) return async () => Buffer.from(value);
  throw missing(id, `the environment has no ${variable}`);
}

function fromFile(id: string, file: string): SecretReader {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat?.isFile()) throw missing(id, `there is no file ${file}`);
  if (stat.size > maxSecret) {
    throw new AegisError("SECRET_TOO_LARGE", `the secret "${id}" has ${stat.size} bytes`, {
      hint: `a secret has at most ${maxSecret} bytes; use a bind mount for more`,
    });
  }
  return async () => await readFile(file);
}

/** @throws AegisError USAGE, SSH_MISSING */
export function sshAgents(words: readonly string[], env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const agents: Record<string, string> = {};
  for (const word of words) {
    const [id = "default", socket] = word.split("=", 2);
    const at = socket ?? env.SSH_AUTH_SOCK;
    if (!at) {
      throw new AegisError("SSH_MISSING", `--ssh ${word}: no SSH agent is running here`, {
        hint: "start ssh-agent, or name its socket: --ssh default=/path/to/agent.sock",
      });
    }
    if (!statSync(at, { throwIfNoEntry: false })?.isSocket()) {
      throw usage(
        `--ssh ${word}: ${at} is not a socket`,
        "load the key into an agent (ssh-add), and pass the agent's socket",
      );
    }
    agents[id] = path.resolve(at);
  }
  return agents;
}

/** `a=b,c=d` in CSV, where a field in double quotes may hold commas. */
export function parseFields(word: string): Readonly<Record<string, string | undefined>> {
  const fields: Record<string, string> = {};
  for (const [, quoted, plain] of word.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)) {
    const field = quoted?.replaceAll('""', '"') ?? plain ?? "";
    const equals = field.indexOf("=");
    fields[(equals < 0 ? field : field.slice(0, equals)).trim().toLowerCase()] =
      equals < 0 ? "" : field.slice(equals + 1);
  }
  return fields;
}

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

const missing = (id: string, why: string) =>
  new AegisError("SECRET_SOURCE_MISSING", `the secret "${id}" has no value: ${why}`, {
    hint: "name where it comes from: --secret id=NAME,src=FILE or id=NAME,env=VARIABLE",
  });

/**
 * Runs the system's git for repositories that may be hostile: no configuration, attributes, credentials or hooks of the
 * user, no question on the terminal, and no transport but the four that an address can name.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { homedir } from "node:os";
import path from "node:path";
import { AegisError, hasErrno } from "../../support/errors.js";

export interface GitAccess {
  /** An agent's socket, for ssh. */
  readonly agent: string | undefined;
  /** Value of the Authorization header, sent only to `origin`. */
  readonly authorization: { readonly origin: string; readonly value: string } | undefined;
  /** Host keys that were accepted before. */
  readonly knownHosts: string;
  readonly signal: AbortSignal | undefined;
}

/** What git and ssh may know of the environment. */
const passed = /^(PATH|TMPDIR|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|GIT_SSL_CAINFO)$/;

/** Settings that hold whatever a repository says. */
const settings: Readonly<Record<string, string>> = {
  "advice.detachedHead": "false",
  "core.hooksPath": "/dev/null",
  "core.fsmonitor": "false",
  "core.logAllRefUpdates": "true",
  "gc.auto": "0",
  "init.defaultBranch": "master",
};

/**
 * Runs git in `directory`; gives its standard output.
 * @throws AegisError GIT_MISSING, GIT_FAILED (its standard error as context)
 */
export async function runGit(directory: string, args: readonly string[], access: GitAccess): Promise<string> {
  // Files get the modes that they have everywhere, whatever umask the caller lives under.
  const child = spawn("/bin/sh", ["-c", 'umask 022; exec git "$@"', "git", ...args], {
    cwd: directory,
    env: environment(directory, access),
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  // Its helpers (git-remote-https, ssh) are in its group.
  const abort = () => child.pid !== undefined && process.kill(-child.pid, "SIGKILL");
  access.signal?.addEventListener("abort", abort);
  const [output, complaints]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => void output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => void complaints.push(chunk));
  try {
    const [code] = (await once(child, "close")) as [number | null];
    access.signal?.throwIfAborted();
    if (code === 0) return Buffer.concat(output).toString();
    const said = Buffer.concat(complaints).toString().trim();
    if (code === 127 || code === 126) throw gitMissing(said);
    throw new AegisError("GIT_FAILED", `git ${args[0]} failed: ${lastLine(said)}`, {
      hint: "check the address and that the repository may be read; private ones need --secret id=GIT_AUTH_TOKEN or --ssh default",
      context: said.slice(-2000),
    });
  } catch (error) {
    if (hasErrno(error, "ENOENT")) throw gitMissing(String(error));
    throw error;
  } finally {
    access.signal?.removeEventListener("abort", abort);
  }
}

function environment(directory: string, access: GitAccess): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env)) if (passed.test(name)) env[name] = value;
  const { authorization } = access;
  const config = { ...settings };
  if (authorization) config[`http.${authorization.origin}.extraHeader`] = `Authorization: ${authorization.value}`;
  for (const [i, [key, value]] of Object.entries(config).entries()) {
    env[`GIT_CONFIG_KEY_${i}`] = key;
    env[`GIT_CONFIG_VALUE_${i}`] = value;
  }
  return {
    ...env,
    GIT_CONFIG_COUNT: String(Object.keys(config).length),
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ASKPASS: "/bin/false",
    GIT_ALLOW_PROTOCOL: "http:https:git:ssh",
    GIT_CEILING_DIRECTORIES: path.dirname(directory),
    GIT_SSH_COMMAND: sshCommand(access),
    HOME: "/nonexistent",
    LC_ALL: "C",
  };
}

/** Only the agent's keys are offered, and a host that is met first is remembered, as the reference accepts it. */
function sshCommand({ agent, knownHosts }: GitAccess): string {
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=accept-new",
    `UserKnownHostsFile=${quoted(knownHosts)} ${quoted(path.join(homedir(), ".ssh", "known_hosts"))}`,
    `IdentityAgent=${agent ?? "none"}`,
    "IdentityFile=/dev/null",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
  ];
  return ["ssh", "-F", "/dev/null", ...options.flatMap((it) => ["-o", shellQuoted(it)])].join(" ");
}

const quoted = (word: string): string => (/\s/.test(word) ? `"${word}"` : word);
const shellQuoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

const lastLine = (text: string): string =>
  text
    .split("\n")
    .findLast((line) => /^(fatal|error|remote):/.test(line))
    ?.replace(/^\w+: /, "") ??
  text.split("\n").at(-1) ??
  "";

const gitMissing = (said: string) =>
  new AegisError("GIT_MISSING", "git, which fetches repositories, can't be started here", {
    hint: "install git, or fetch an archive instead: ADD https://.../archive/v1.tar.gz",
    context: said,
  });

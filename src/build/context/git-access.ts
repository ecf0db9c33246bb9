/** What a build lends to git: the agent of `--ssh default`, and the secrets by which BuildKit reaches private repositories. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { AegisHome } from "../../support/home.js";
import type { BuildRequest } from "../types.js";
import { type GitAddress, usesSsh } from "./git-address.js";
import type { GitAccess } from "./git-command.js";

/** GIT_AUTH_HEADER and GIT_AUTH_TOKEN, first those of the host (`GIT_AUTH_TOKEN.example.com`). */
export async function gitAccess(
  address: GitAddress,
  request: Pick<BuildRequest, "agents" | "secrets" | "signal">,
  home: AegisHome,
): Promise<GitAccess> {
  await mkdir(home.cache, { recursive: true, mode: 0o700 });
  return {
    agent: usesSsh(address) ? request.agents.default : undefined,
    authorization: await authorization(address, request.secrets),
    knownHosts: path.join(home.cache, "git-known-hosts"),
    signal: request.signal,
  };
}

async function authorization(
  { remote }: GitAddress,
  secrets: BuildRequest["secrets"],
): Promise<GitAccess["authorization"]> {
  if (!/^https?:/i.test(remote)) return undefined;
  const { origin, host } = new URL(remote);
  for (const suffix of [`.${host}`, ""]) {
    const header = (await secrets[`GIT_AUTH_HEADER${suffix}`]?.())?.toString();
    if (header !== undefined) return { origin: `${origin}/`, value: text(header) };
    const token = (await secrets[`GIT_AUTH_TOKEN${suffix}`]?.())?.toString();
    if (token === undefined) continue;
    const pair = Buffer.from(`x-access-token:${text(token)}`).toString("base64");
    return { origin: `${origin}/`, value: `basic ${pair}` };
  }
  return undefined;
}

/** Files end in a newline that is no part of the secret; one inside could start another header. */
const text = (secret: string): string => secret.trim().replace(/[\r\n].*/s, "");

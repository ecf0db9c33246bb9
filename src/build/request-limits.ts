/** `--ulimit` and the address of `host-gateway`: what steps get of the host. */
import { networkInterfaces } from "node:os";
import { AegisError } from "../support/errors.js";
import { type ExtraHost, parseExtraHost } from "../support/extra-hosts.js";
import type { NetworkMode } from "./types.js";

/** A limit of setrlimit(2) by its name in lower case; -1 is unlimited. */
export interface ResourceLimit {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

/** As Docker lists them. */
const names = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(
  " ",
);

/** Reads `NAME=SOFT[:HARD]`. @throws AegisError USAGE */
export function parseUlimit(word: string): ResourceLimit {
  const match = /^([a-z]+)=(-1|\d+|unlimited)(?::(-1|\d+|unlimited))?$/.exec(word);
  if (!match || !names.includes(match[1]!)) {
    throw usage(
      `--ulimit "${word}" is not a limit`,
      `write it as --ulimit nofile=1024:2048, with one of ${names.join(", ")}`,
    );
  }
  const number = (text: string) => (text === "unlimited" ? -1 : Number(text));
  const soft = number(match[2]!);
  const hard = number(match[3] ?? match[2]!);
  const above = (value: number) => (value === -1 ? Number.POSITIVE_INFINITY : value);
  if (above(soft) > above(hard)) throw usage(`--ulimit "${word}": the soft limit is above the hard one`, "swap them");
  return { name: match[1]!, soft, hard };
}

/** `host-gateway` becomes an address at which steps reach this host. @throws AegisError BAD_HOST, NO_HOST_GATEWAY */
export function stepHost(word: string, network: NetworkMode): ExtraHost {
  const host = parseExtraHost(word);
  if (host.address !== "host-gateway") return host;
  // With the host's own network its loopback is the shortest way.
  if (network === "host") return { ...host, address: "127.0.0.1" };
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outward = addresses.find(({ family, internal }) => family === "IPv4" && !internal);
  if (outward) return { ...host, address: outward.address };
  throw new AegisError("NO_HOST_GATEWAY", `--add-host ${word}: this host has no address but its loopback`, {
    hint: "build with --network=host, or name an address",
  });
}

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

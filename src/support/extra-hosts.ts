/** `--add-host`, as `build` and `run` take it. */
import { isIP } from "node:net";
import { AegisError } from "./errors.js";

export interface ExtraHost {
  readonly name: string;
  /** An IP address, or `host-gateway`: the host. */
  readonly address: string;
}

/** Reads `NAME:ADDRESS` or `NAME=ADDRESS`. @throws AegisError BAD_HOST */
export function parseExtraHost(text: string): ExtraHost {
  const match = /^([^:=]+)[:=](.+)$/.exec(text);
  const address = match?.[2]?.replace(/^\[(.*)\]$/, "$1");
  if (match && address && (address === "host-gateway" || isIP(address) !== 0)) return { name: match[1]!, address };
  throw new AegisError("BAD_HOST", `--add-host ${text} is not understood`, { hint: "write --add-host NAME:ADDRESS" });
}

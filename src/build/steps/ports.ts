/** EXPOSE: ports and ranges, `/tcp` unless told, as the image config lists them. */
import { isIP } from "node:net";
import { AegisError } from "../../support/errors.js";

interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * `[[ADDRESS:]HOSTPORT:]PORT[-PORT][/PROTOCOL]`. What stands before the image's own port is checked and says nothing.
 * @throws AegisError BAD_PORT
 */
export function exposedPorts(words: readonly string[]): readonly string[] {
  return words.flatMap((word) => {
    const parts = word.split(":");
    const [ports, protocol] = cutProtocol(parts.pop()!);
    const host = parts.pop() ?? "";
    const range = portRange(ports);
    if (!range || !isAddress(parts.join(":")) || !fits(host, range) || !["tcp", "udp", "sctp"].includes(protocol)) {
      throw new AegisError("BAD_PORT", `EXPOSE: "${word}" is not a port`, {
        hint: "write a number from 0 to 65535 or a range, with /tcp, /udp or /sctp if needed: 8080, 9000-9010/udp",
      });
    }
    return Array.from({ length: range.last - range.first + 1 }, (_, i) => `${range.first + i}/${protocol}`);
  });
}

function cutProtocol(text: string): readonly [ports: string, protocol: string] {
  const slash = text.indexOf("/");
  if (slash < 0) return [text, "tcp"];
  return [text.slice(0, slash), text.slice(slash + 1).toLowerCase() || "tcp"];
}

function portRange(text: string): PortRange | undefined {
  const dash = text.indexOf("-");
  const first = portNumber(dash < 0 ? text : text.slice(0, dash));
  const last = dash < 0 ? first : portNumber(text.slice(dash + 1));
  return first === undefined || last === undefined || last < first ? undefined : { first, last };
}

function portNumber(text: string): number | undefined {
  return /^\+?\d+$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

/** Several ports of the host may stand for one, but not the other way round. */
function fits(host: string, { first, last }: PortRange): boolean {
  if (host === "") return true;
  const range = portRange(host);
  return range !== undefined && (range.last - range.first === last - first || first === last);
}

function isAddress(text: string): boolean {
  const bare = text.replace(/^\[(.*)\]$/, "$1");
  return bare === "" || (isIP(bare) !== 0 && !bare.includes("%"));
}

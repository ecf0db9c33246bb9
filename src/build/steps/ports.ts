/** EXPOSE: ports and ranges, `/tcp` unless told, as the image config lists them. */
import { AegisError } from "../../support/errors.js";

/** @throws AegisError BAD_PORT */
export function exposedPorts(words: readonly string[]): readonly string[] {
  return words.flatMap((word) => {
    const match = /^(?:.*:)?(\d+)(?:-(\d+))?(?:\/(\w+))?$/.exec(word);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    const protocol = (match?.[3] ?? "tcp").toLowerCase();
    if (!match || last < first || last > 65_535 || !["tcp", "udp", "sctp"].includes(protocol)) {
      throw new AegisError("BAD_PORT", `EXPOSE: "${word}" is not a port`, {
        hint: "write a number from 0 to 65535 or a range, with /tcp, /udp or /sctp if needed: 8080, 9000-9010/udp",
      });
    }
    return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${protocol}`);
  });
}

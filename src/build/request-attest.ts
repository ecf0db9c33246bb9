/** `--provenance`, `--sbom` and `--attest`. */
import { parseBoolean } from "../support/booleans.js";
import { AegisError } from "../support/errors.js";
import type { ProvenanceMode } from "./export/provenance.js";
import { parseFields } from "./request-secrets.js";

export interface AttestFlags {
  readonly provenance: string | undefined;
  readonly sbom: string | undefined;
  readonly attest: readonly string[];
}

/** undefined: none is made, which is so unless it is asked for. @throws AegisError USAGE, SBOM_UNSUPPORTED */
export function provenanceMode(flags: AttestFlags): ProvenanceMode | undefined {
  let mode: ProvenanceMode | undefined;
  const words = [
    ...flags.attest,
    ...(flags.provenance === undefined ? [] : [shorthand("provenance", flags.provenance)]),
    ...(flags.sbom === undefined ? [] : [shorthand("sbom", flags.sbom)]),
  ];
  for (const word of words) {
    const { type, disabled, mode: wanted = "min" } = parseFields(word);
    const off = disabled !== undefined && disabled !== "false";
    if (type === "sbom") {
      if (off) continue;
      throw new AegisError("SBOM_UNSUPPORTED", "aegis makes no SBOM of what it builds", {
        hint: "scan the finished image instead: -o type=oci,dest=image.tar, and give that to a scanner such as syft",
      });
    }
    if (type !== "provenance") throw usage(`"${type ?? word}" is no type of attestation`, "use type=provenance");
    if (wanted !== "min" && wanted !== "max")
      throw usage(`provenance has no mode "${wanted}"`, "use mode=min or mode=max");
    mode = off ? undefined : wanted;
  }
  return mode;
}

/** `true`, `false` or fields. */
function shorthand(type: string, value: string): string {
  const wanted = parseBoolean(value.toLowerCase());
  if (wanted !== undefined) return wanted ? `type=${type}` : `type=${type},disabled=true`;
  if (/^(min|max)$/.test(value) && type === "provenance") return `type=${type},mode=${value}`;
  if (value.includes("=")) return `type=${type},${value}`;
  throw usage(
    `--${type} can't be "${value}"`,
    `write --${type}=true, --${type}=false${type === "provenance" ? " or --provenance=mode=max" : ""}`,
  );
}

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

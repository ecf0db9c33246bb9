/** `--allow`: what a RUN may do that goes beyond a container. Without it the build ends before it begins. */
import { excerpt } from "../dockerfile/errors.js";
import type { Dockerfile, Instruction } from "../dockerfile/types.js";
import { AegisError } from "../support/errors.js";
import type { BuildRequest } from "./types.js";

const entitlements = ["network.host", "security.insecure", "device"] as const;
export type Entitlement = (typeof entitlements)[number];

/** A build that has the host's network by `--network=host` may use it in every RUN. @throws AegisError USAGE */
export function parseEntitlements(words: readonly string[], network: string): readonly Entitlement[] {
  const found = words
    .flatMap((word) => word.split(","))
    .map((word) => {
      const name = entitlements.find((it) => it === word.split("=", 1)[0]);
      if (name !== undefined) return name;
      throw new AegisError("USAGE", `unknown entitlement "${word}"`, {
        hint: `choose among ${entitlements.join(", ")}`,
      });
    });
  return network === "host" ? [...found, "network.host"] : found;
}

/** @throws AegisError NOT_ALLOWED */
export function checkEntitled(
  instruction: Instruction,
  request: Pick<BuildRequest, "allowed">,
  dockerfile: Dockerfile,
): void {
  if (instruction.kind !== "RUN") return;
  const wanted: readonly (Entitlement | false)[] = [
    instruction.network === "host" && "network.host",
    instruction.security === "insecure" && "security.insecure",
  ];
  for (const entitlement of wanted) {
    if (!entitlement || request.allowed.includes(entitlement)) continue;
    throw new AegisError("NOT_ALLOWED", `${entitlement} is not allowed`, {
      exitCode: 1,
      hint: `if you trust this Dockerfile with it, build with --allow ${entitlement}`,
      context: `${dockerfile.file.name}:${instruction.range.startLine}\n${excerpt(dockerfile.file, instruction.range)}`,
      details: { entitlement, line: instruction.range.startLine },
    });
  }
}

/** Digests and the identities derived from them. OCI image spec: descriptor.md "Digests", config.md "Layer ChainID". */
import { createHash } from "node:crypto";
import type { ChainId, DiffId, Digest } from "../support/brands.js";
import { AegisError } from "../support/errors.js";

const pattern = /^sha256:[0-9a-f]{64}$/;

export const isDigest = (text: string): text is Digest => pattern.test(text);

/**
 * Checks that `text` is a digest that can be verified here.
 * @throws AegisError BAD_DIGEST
 */
export function parseDigest(text: unknown): Digest {
  if (typeof text === "string" && isDigest(text)) return text;
  throw new AegisError("BAD_DIGEST", `${JSON.stringify(text)} is not a sha256 digest`, {
    hint: "a digest is sha256: and 64 lower-case hex digits; other algorithms are not supported",
  });
}

export const digestOf = (bytes: Uint8Array | string): Digest =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}` as Digest;

/** The 64 hex digits. */
export const hexOf = (digest: Digest | DiffId | ChainId): string => digest.slice("sha256:".length);

/** ChainID of each prefix of the stack: the i-th names layers 0 to i together. */
export function chainIds(diffIds: readonly DiffId[]): ChainId[] {
  const chain: ChainId[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push((parent === undefined ? diffId : digestOf(`${parent} ${diffId}`)) as string as ChainId);
  }
  return chain;
}

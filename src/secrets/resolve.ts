/** From requests to values, all at once and before anything boots, so that every missing secret is named in one go. */
import { readFile } from "node:fs/promises";
import { AegisError, hasErrno } from "../support/errors.js";
import type { SecretRequest } from "./spec.js";
import { maxSecretBytes, type SecretStore } from "./store.js";

export interface ResolvedSecret {
  readonly request: SecretRequest;
  readonly value: Buffer;
}

/**
 * Values for what was asked; optional ones that are missing are left out.
 * @throws AegisError SECRET_MISSING naming every required one that has no value
 */
export async function resolveSecrets(
  requests: readonly SecretRequest[],
  from: { readonly store: SecretStore; readonly env: NodeJS.ProcessEnv },
): Promise<readonly ResolvedSecret[]> {
  const resolved: ResolvedSecret[] = [];
  const missing: SecretRequest[] = [];
  for (const request of requests) {
    const value = await readSecret(request, from);
    if (value !== undefined) resolved.push({ request, value });
    else if (request.required) missing.push(request);
  }
  if (missing.length > 0) throw missingError(missing);
  return resolved;
}

async function readSecret(
  request: SecretRequest,
  from: { readonly store: SecretStore; readonly env: NodeJS.ProcessEnv },
): Promise<Buffer | undefined> {
  const { source } = request;
  if (source.kind === "store") return await from.store.get(request.name);
  if (source.kind === "env") {
    const value = from.env[source.variable];
    return value === undefined ? undefined : Buffer.from(value);
  }
  const value = await readFile(source.path).catch((error) => {
    if (hasErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw new AegisError("SECRET_UNREADABLE", `secret ${request.name}: ${source.path} can't be read`, {
      hint: "check the file's permissions",
      cause: error,
    });
  });
  if (value && value.length > maxSecretBytes) {
    throw new AegisError(
      "SECRET_TOO_LARGE",
      `secret ${request.name}: ${source.path} is larger than ${maxSecretBytes} bytes`,
    );
  }
  return value;
}

function missingError(missing: readonly SecretRequest[]): AegisError {
  const where = missing.map(({ name, source }) => {
    if (source.kind === "file") return `${name} (no file ${source.path})`;
    if (source.kind === "env") return `${name} (variable ${source.variable} is not set)`;
    return name;
  });
  const stored = missing.filter((request) => request.source.kind === "store").map((request) => request.name);
  return new AegisError("SECRET_MISSING", `missing secret${missing.length > 1 ? "s" : ""}: ${where.join(", ")}`, {
    hint:
      stored.length > 0
        ? `set ${stored.length > 1 ? "them" : "it"}: ${stored.map((name) => `aegis secret set ${name}`).join("; ")}`
        : "provide the file or variable, or drop the option",
    details: { secrets: missing.map((request) => request.name) },
  });
}

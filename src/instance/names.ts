/** Names of instances: what may be one, and the one an image suggests. */
import { randomBytes } from "node:crypto";
import type { InstanceId } from "../support/brands.js";
import { AegisError } from "../support/errors.js";

const pattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

/** @throws AegisError INSTANCE_NAME */
export function checkInstanceName(name: string): string {
  if (pattern.test(name)) return name;
  throw new AegisError("INSTANCE_NAME", `"${name}" can't be the name of an instance`, {
    hint: "use letters, digits, _ . and -, starting with a letter or digit, at most 63",
  });
}

/** `ghcr.io/acme/web:1.2` suggests `web`; something that is no name (a digest) suggests its first 12 characters. */
export function nameFromImage(reference: string): string {
  const bare = reference.replace(/@.*$/, "").replace(/^sha256:([0-9a-f]{12}).*$/, "$1");
  const last = bare.split("/").at(-1)!.replace(/:.*$/, "");
  const name = last
    .replace(/[^a-zA-Z0-9_.-]/g, "-")
    .replace(/^[^a-zA-Z0-9]+/, "")
    .slice(0, 63);
  return pattern.test(name) ? name : "instance";
}

export const newInstanceId = (): InstanceId => randomBytes(6).toString("hex") as InstanceId;

/**
 * What `--secret` and SECRET ask for: which secret, where its value comes from on the host, and how the app gets it. A request
 * never holds a value, so it may be stored and shown.
 */
import { AegisError } from "../support/errors.js";

export type SecretSource =
  | { readonly kind: "store" }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "env"; readonly variable: string };

export type SecretDelivery =
  /** Only RENDER uses it. */
  | { readonly kind: "render" }
  | { readonly kind: "env"; readonly variable: string }
  | { readonly kind: "file"; readonly path: string; readonly mode: number; readonly owner?: string | undefined };

export interface SecretRequest {
  readonly name: string;
  readonly source: SecretSource;
  readonly delivery: SecretDelivery;
  readonly required: boolean;
}

/** @throws AegisError SECRET_NAME */
export function checkSecretName(name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/.test(name)) return name;
  throw new AegisError("SECRET_NAME", `"${name}" can't be the name of a secret`, {
    hint: "use letters, digits, _ . and -, starting with a letter or _, at most 128",
  });
}

/**
 * Reads `--secret NAME`, `--secret id=NAME[,src=FILE|,env=VARIABLE][,target=PATH][,mode=0400][,uid=0][,gid=0]`.
 * @throws AegisError SECRET_SPEC, SECRET_NAME
 */
export function parseSecretFlag(text: string): SecretRequest {
  const wrong = (what: string) =>
    new AegisError("SECRET_SPEC", `--secret ${text}: ${what}`, {
      hint: "write --secret NAME, or id=NAME with src=FILE or env=VARIABLE, and target=PATH to get it as a file",
    });
  if (!text.includes("=")) {
    const name = checkSecretName(text);
    return { name, source: { kind: "store" }, delivery: { kind: "env", variable: variableFor(name) }, required: true };
  }
  const fields = new Map<string, string>();
  for (const part of text.split(",")) {
    const equals = part.indexOf("=");
    const key = canonicalKeys[part.slice(0, Math.max(equals, 0))];
    if (equals <= 0 || key === undefined) throw wrong(`"${part}" is not understood`);
    if (fields.has(key)) throw wrong(`${key} is given twice`);
    fields.set(key, part.slice(equals + 1));
  }
  const id = fields.get("id");
  if (!id) throw wrong("id= is missing");
  const name = checkSecretName(id);
  const [src, env, target] = [fields.get("src"), fields.get("env"), fields.get("target")];
  const type = fields.get("type");
  if (type !== undefined && type !== "file" && type !== "env") throw wrong("type is file or env");
  if (src !== undefined && env !== undefined) throw wrong("src and env exclude each other");
  if (target !== undefined && !target.startsWith("/")) throw wrong("target must be an absolute path in the guest");
  const mode = fields.get("mode") ?? "0400";
  if (!/^0?[0-7]{3}$/.test(mode)) throw wrong(`mode ${mode} is not octal`);
  const source: SecretSource =
    type === "env" && src !== undefined
      ? { kind: "env", variable: src }
      : src !== undefined
        ? { kind: "file", path: src }
        : env !== undefined
          ? { kind: "env", variable: env || name }
          : { kind: "store" };
  const delivery: SecretDelivery =
    target === undefined
      ? { kind: "env", variable: variableFor(name) }
      : {
          kind: "file",
          path: target,
          mode: Number.parseInt(mode, 8),
          owner: ownerOf(fields.get("uid"), fields.get("gid")),
        };
  return { name, source, delivery, required: true };
}

/** The app's user when neither is given. */
const ownerOf = (uid: string | undefined, gid: string | undefined) =>
  uid === undefined && gid === undefined ? undefined : `${uid ?? "0"}:${gid ?? uid ?? "0"}`;

const canonicalKeys: Readonly<Record<string, string>> = {
  id: "id",
  src: "src",
  source: "src",
  env: "env",
  type: "type",
  target: "target",
  dst: "target",
  destination: "target",
  mode: "mode",
  uid: "uid",
  gid: "gid",
};

/** A secret's name as an environment variable: what a shell can't read becomes `_`. */
export const variableFor = (name: string): string => name.replace(/[^A-Za-z0-9_]/g, "_");

/**
 * Image references, read and completed as Docker does: `node` means `docker.io/library/node:latest`. Grammar: the
 * distribution project's reference package; OCI distribution spec "Pulling manifests" for names, tags and digests.
 */
import type { Digest } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import { isDigest } from "./digests.js";

export interface Reference {
  /** Registry, with port when one is given: `docker.io`, `localhost:5000`. */
  readonly domain: string;
  /** Repository without the registry: `library/node`. */
  readonly path: string;
  /** `latest` when neither tag nor digest was given. */
  readonly tag?: string;
  readonly digest?: Digest;
}

const label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const domainPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const pathPattern = new RegExp(`^${component}(?:/${component})*$`);
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * Parses a reference as a user writes it.
 * @throws AegisError BAD_REFERENCE
 */
export function parseReference(text: string): Reference {
  const bad = (why: string) =>
    new AegisError("BAD_REFERENCE", `"${text}" is not an image reference: ${why}`, {
      hint: "write it like node:22, ghcr.io/owner/app:1.0 or localhost:5000/app@sha256:...",
      details: { reference: text },
    });
  if (/^[0-9a-f]{64}$/.test(text)) throw bad("64 hex digits would be taken for an image id");
  const [beforeDigest, digest, ...rest] = text.split("@");
  if (rest.length > 0) throw bad("it has two @");
  if (digest !== undefined && !isDigest(digest)) throw bad(`"${digest}" is not a sha256 digest`);
  const { domain, remainder } = splitDomain(beforeDigest!);
  const colon = remainder.indexOf(":");
  const name = colon < 0 ? remainder : remainder.slice(0, colon);
  const tag = colon < 0 ? undefined : remainder.slice(colon + 1);
  if (tag !== undefined && !tagPattern.test(tag)) throw bad(`"${tag}" is not a tag`);
  if (!domainPattern.test(domain)) throw bad(`"${domain}" is not a registry`);
  if (name !== name.toLowerCase()) throw bad("the repository's name must be lower case");
  if (!pathPattern.test(name)) throw bad(name === "" ? "the name is missing" : `"${name}" is not a repository name`);
  const path = domain === "docker.io" && !name.includes("/") ? `library/${name}` : name;
  if (domain.length + 1 + path.length > 255) throw bad("the name is longer than 255 characters");
  if (digest === undefined) return { domain, path, tag: tag ?? "latest" };
  return tag === undefined ? { domain, path, digest } : { domain, path, tag, digest };
}

/** The part before the first slash is a registry only if it looks like a host: a dot, a port, `localhost`, or upper case. */
function splitDomain(text: string): { readonly domain: string; readonly remainder: string } {
  const slash = text.indexOf("/");
  const first = text.slice(0, Math.max(slash, 0));
  const isHost = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  if (slash < 0 || !isHost) return { domain: "docker.io", remainder: text };
  return { domain: first === "index.docker.io" ? "docker.io" : first, remainder: text.slice(slash + 1) };
}

/** `docker.io/library/node`. */
export const repositoryOf = (reference: Reference): string => `${reference.domain}/${reference.path}`;

/** The complete form under which a store keeps a name: `docker.io/library/node:22`. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${repositoryOf(reference)}${tag}${digest}`;
}

/** `docker.io/library/node` as people write it: `node`. */
export function familiarRepository(reference: Reference): string {
  if (reference.domain !== "docker.io") return repositoryOf(reference);
  return reference.path.replace(/^library\/(?=[^/]+$)/, "");
}

/** The short form that people write: `node:22`. */
export function familiarName(reference: Reference | string): string {
  const it = typeof reference === "string" ? parseReference(reference) : reference;
  return `${familiarRepository(it)}${formatReference(it).slice(repositoryOf(it).length)}`;
}

/** `parseReference` and `formatReference` in one: the key under which stores and registries know this name. */
export const normaliseReference = (text: string): string => formatReference(parseReference(text));

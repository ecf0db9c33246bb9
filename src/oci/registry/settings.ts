/**
 * What is configured about registries: mirrors, own CAs, plain HTTP. From a JSON file of ours, and from the directories in
 * which Docker looks for certificates.
 */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { AegisError, hasErrno } from "../../support/errors.js";

export interface RegistrySettings {
  /** `[scheme://]host[:port][/prefix]`, tried in order before the registry itself, for pulls. */
  readonly mirrors: readonly string[];
  /** Plain HTTP and unverified TLS are allowed. */
  readonly insecure: boolean;
  /** PEM certificates that are trusted besides the usual ones. */
  readonly ca: readonly string[];
}

export interface SettingsSource {
  /** JSON file; a missing one is an empty one. */
  readonly file?: string | undefined;
  /** Directories with `<host>/*.crt`, as Docker has them. */
  readonly certificateDirectories?: readonly string[] | undefined;
}

interface FileEntry {
  readonly mirrors?: readonly string[];
  readonly insecure?: boolean;
  readonly ca?: string;
}

/** Settings of the registry `domain`. @throws AegisError BAD_REGISTRIES_CONFIG */
export async function registrySettings(domain: string, source: SettingsSource): Promise<RegistrySettings> {
  const entry = source.file === undefined ? {} : ((await readEntries(source.file))[domain] ?? {});
  const ca: string[] = [];
  if (entry.ca !== undefined) ca.push(await readCertificate(entry.ca, source.file!));
  for (const directory of source.certificateDirectories ?? []) ca.push(...(await certificatesIn(directory, domain)));
  return { mirrors: entry.mirrors ?? [], insecure: entry.insecure ?? false, ca };
}

async function readEntries(file: string): Promise<Readonly<Record<string, FileEntry>>> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return {};
    throw error;
  }
  const bad = (what: string, cause?: unknown) =>
    new AegisError("BAD_REGISTRIES_CONFIG", `${file}: ${what}`, {
      hint: 'write it like {"registries": {"docker.io": {"mirrors": ["https://mirror.example"]}}}',
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw bad("it is not JSON", error);
  }
  const registries = (value as { registries?: unknown } | null)?.registries;
  if (typeof registries !== "object" || registries === null) throw bad('it has no "registries"');
  for (const [name, entry] of Object.entries(registries)) {
    const { mirrors, insecure, ca, ...unknown } = (entry ?? {}) as Record<string, unknown>;
    const isList = mirrors === undefined || (Array.isArray(mirrors) && mirrors.every((it) => typeof it === "string"));
    const isSound = isList && ["undefined", "boolean"].includes(typeof insecure);
    if (!isSound || !["undefined", "string"].includes(typeof ca)) throw bad(`the settings of "${name}" are malformed`);
    const [first] = Object.keys(unknown);
    if (first !== undefined) throw bad(`"${first}" of "${name}" is not a setting; there are mirrors, insecure and ca`);
  }
  return registries as Readonly<Record<string, FileEntry>>;
}

async function readCertificate(file: string, config: string): Promise<string> {
  const at = path.resolve(path.dirname(config), file);
  try {
    return await readFile(at, "utf8");
  } catch (error) {
    throw new AegisError("BAD_REGISTRIES_CONFIG", `${config}: the certificate ${at} can't be read`, { cause: error });
  }
}

async function certificatesIn(directory: string, domain: string): Promise<readonly string[]> {
  try {
    const names = (await readdir(path.join(directory, domain))).filter((name) => name.endsWith(".crt"));
    return await Promise.all(names.map((name) => readFile(path.join(directory, domain, name), "utf8")));
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR", "EACCES")) return [];
    throw error;
  }
}

/** This machine itself: the only place where plain HTTP is used without being configured. */
export const isLoopback = (hostname: string): boolean =>
  hostname === "localhost" || hostname === "[::1]" || hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname);

/** A place that serves images: the registry itself or a mirror of it. */
export interface Endpoint {
  readonly base: URL;
  /** Goes before the repository's path. */
  readonly prefix: string;
  /** Plain HTTP may be used when TLS is not spoken there. */
  readonly allowHttp: boolean;
  readonly verifyTls: boolean;
  readonly isMirror: boolean;
  /** Whose credentials are used. */
  readonly domain: string;
}

const hubHost = "registry-1.docker.io";

/** Mirrors first, the registry last. */
export function endpointsOf(domain: string, settings: RegistrySettings): readonly Endpoint[] {
  const own = endpoint(domain === "docker.io" ? hubHost : domain, domain, false, settings.insecure);
  return [...settings.mirrors.map((mirror) => endpoint(mirror, undefined, true, settings.insecure)), own];
}

function endpoint(text: string, domain: string | undefined, isMirror: boolean, insecure: boolean): Endpoint {
  const explicit = /^(https?):\/\//.exec(text)?.[1];
  let url: URL;
  try {
    url = new URL(explicit ? text : `https://${text}`);
  } catch (error) {
    throw new AegisError("BAD_REGISTRIES_CONFIG", `"${text}" is not the address of a registry`, { cause: error });
  }
  const local = isLoopback(url.hostname);
  if (explicit === "http" && !local && !insecure) {
    throw new AegisError("BAD_REGISTRIES_CONFIG", `${text} is plain HTTP, which is not allowed there`, {
      hint: 'use https, or set "insecure": true for the registry',
    });
  }
  const prefix = url.pathname.replace(/^\/+|\/+$/g, "");
  const base = new URL(url.origin);
  const allowHttp = explicit === undefined && (local || insecure);
  return { base, prefix, allowHttp, verifyTls: !insecure, isMirror, domain: domain ?? url.host };
}

/**
 * Secrets at rest, under `$AEGIS_HOME/secrets`: one file per secret, AES-256-GCM with a random nonce, the secret's name as
 * additional data (so files can't be exchanged), and one random key in `key`, mode 0600. This protects copies of single files
 * and backups without the key; whoever can read the whole directory can read the secrets.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { link, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { AegisError, hasErrno } from "../support/errors.js";
import { replaceFile, temporaryPath } from "../support/files.js";
import { checkSecretName } from "./spec.js";

export interface StoredSecret {
  readonly name: string;
  /** ISO 8601, when it was last set. */
  readonly updatedAt: string;
}

export interface SecretStore {
  /** Creates or replaces; true when it is new. */
  set(name: string, value: Uint8Array): Promise<boolean>;
  /** undefined when there is none. @throws AegisError SECRET_UNREADABLE when it was altered or its key is gone */
  get(name: string): Promise<Buffer | undefined>;
  list(): Promise<readonly StoredSecret[]>;
  /** @throws AegisError SECRET_UNKNOWN */
  remove(name: string): Promise<void>;
}

const magic = Buffer.from("AEGISEC1");
const nonceBytes = 12;
const tagBytes = 16;
const suffix = ".secret";
/** Values travel in one frame to the guest; more than this is a file, not a secret. */
export const maxSecretBytes = 1 << 20;

export function openSecretStore(directory: string): SecretStore {
  const fileOf = (name: string) => path.join(directory, `${checkSecretName(name)}${suffix}`);
  const keyFile = path.join(directory, "key");
  return {
    async set(name, value) {
      if (value.length > maxSecretBytes) {
        throw new AegisError(
          "SECRET_TOO_LARGE",
          `secret ${name} has ${value.length} bytes, more than ${maxSecretBytes}`,
          {
            hint: "put large files on a volume or into the image",
          },
        );
      }
      const file = fileOf(name);
      const key = (await readKey(keyFile)) ?? (await createKey(keyFile));
      const isNew = !(await exists(file));
      await replaceFile(file, seal(key, name, value), { mode: 0o600 });
      return isNew;
    },
    async get(name) {
      const sealed = await readFile(fileOf(name)).catch(absent);
      if (!sealed) return undefined;
      const key = await readKey(keyFile);
      return key ? unseal(key, name, sealed) : unreadable(name);
    },
    async list() {
      const names = (await readdir(directory).catch(absent)) ?? [];
      const rows = names
        .filter((file) => file.endsWith(suffix) && !file.startsWith("."))
        .map(async (file) => {
          const { mtime } = await stat(path.join(directory, file));
          return { name: file.slice(0, -suffix.length), updatedAt: mtime.toISOString() };
        });
      return (await Promise.all(rows)).sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    async remove(name) {
      await rm(fileOf(name)).catch((error) => {
        if (!hasErrno(error, "ENOENT")) throw error;
        throw new AegisError("SECRET_UNKNOWN", `there is no secret ${name}`, { hint: '"aegis secret ls" lists them' });
      });
    },
  };
}

function seal(key: Buffer, name: string, value: Uint8Array): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
  const body = Buffer.concat([cipher.update(value), cipher.final()]);
  return Buffer.concat([magic, nonce, cipher.getAuthTag(), body]);
}

function unseal(key: Buffer, name: string, sealed: Buffer): Buffer {
  const head = magic.length + nonceBytes + tagBytes;
  if (sealed.length < head || !sealed.subarray(0, magic.length).equals(magic)) return unreadable(name);
  const nonce = sealed.subarray(magic.length, magic.length + nonceBytes);
  try {
    const cipher = createDecipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
    cipher.setAuthTag(sealed.subarray(magic.length + nonceBytes, head));
    return Buffer.concat([cipher.update(sealed.subarray(head)), cipher.final()]);
  } catch (cause) {
    return unreadable(name, cause);
  }
}

function unreadable(name: string, cause?: unknown): never {
  throw new AegisError("SECRET_UNREADABLE", `secret ${name} can't be decrypted: its file or the key was changed`, {
    hint: `set it again: aegis secret set ${name}`,
    cause,
  });
}

async function readKey(file: string): Promise<Buffer | undefined> {
  const key = await readFile(file).catch(absent);
  return key?.length === 32 ? key : undefined;
}

/** Two processes that both create the first secret end up with one key: the link decides. */
async function createKey(file: string): Promise<Buffer> {
  const temporary = temporaryPath(path.dirname(file), "key");
  try {
    await writeFile(temporary, randomBytes(32), { mode: 0o600, flag: "wx" });
    await link(temporary, file).catch((error) => {
      if (!hasErrno(error, "EEXIST")) throw error;
    });
  } finally {
    await rm(temporary, { force: true });
  }
  const key = await readKey(file);
  if (key) return key;
  throw new AegisError("SECRET_UNREADABLE", `${file} is not a key of 32 bytes`, {
    hint: "restore it from a backup, or remove it and set every secret again",
  });
}

const exists = async (file: string) => (await stat(file).catch(absent)) !== undefined;

function absent(error: unknown): undefined {
  if (hasErrno(error, "ENOENT")) return undefined;
  throw error;
}

/**
 * Remembers the digests of a build context's files between builds, so that an unchanged file is only looked at with one
 * `lstat`. A record holds as long as size, mtime, ctime and inode do. Files changed within the last seconds before they were
 * read are not remembered: a second change might not move a coarse clock.
 */
import { createHash } from "node:crypto";
import { closeSync, lstatSync, openSync, readFileSync, readSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { type ByteString, bytesOf } from "../../support/brands.js";
import { hasErrno } from "../../support/errors.js";
import { replaceFile } from "../../support/files.js";

const header = "aegis context digests 1";
const settleMs = 2000;
const spare = 1000;

/** What tells a file from what it was: `lstat`'s fields, times in milliseconds. */
export interface FileIdentity {
  readonly size: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly ino: number;
}

export class ContextDigests {
  readonly #file: string;
  readonly #root: Buffer;
  #known: Map<string, string> | undefined;
  readonly #fresh = new Map<string, string>();
  #read = 0;
  #asked = 0;

  constructor(cacheDirectory: string, contextRoot: string) {
    this.#root = Buffer.from(`${contextRoot}/`);
    this.#file = path.join(
      cacheDirectory,
      "context",
      createHash("sha256").update(contextRoot).digest("hex").slice(0, 32),
    );
  }

  /** How many files had to be read. */
  get filesRead(): number {
    return this.#read;
  }

  /** sha256 (hex) of the context's file `name`, which looked like this just before. */
  digest(name: ByteString, { size, mtimeMs, ctimeMs, ino }: FileIdentity): string {
    this.#known ??= this.#load();
    this.#asked++;
    const identity = `${size} ${mtimeMs} ${ctimeMs} ${ino} `;
    const record = (this.#fresh.size > 0 ? this.#fresh.get(name) : undefined) ?? this.#known.get(name);
    if (record?.startsWith(identity)) return record.slice(identity.length);
    const digest = fileDigest(this.#absolute(name), size);
    this.#read++;
    if (Date.now() - Math.max(ctimeMs, mtimeMs) > settleMs) this.#fresh.set(name, identity + digest);
    return digest;
  }

  #absolute = (name: string): Buffer => Buffer.concat([this.#root, bytesOf(name as ByteString)]);

  /** Writes what was learned; records of files that were not asked for this time stay. */
  async save(): Promise<void> {
    if (this.#fresh.size === 0) return;
    const all = new Map([...(this.#known ?? []), ...this.#fresh]);
    // Once most records are of files that nobody asked for, it is looked which of them are there at all.
    const crowded = all.size > 2 * this.#asked + spare;
    const parts = [header];
    for (const [name, record] of all) {
      if (crowded && !lstatSync(this.#absolute(name), { throwIfNoEntry: false })) continue;
      parts.push(name, record);
    }
    await mkdir(path.dirname(this.#file), { recursive: true, mode: 0o700 });
    await replaceFile(this.#file, Buffer.from(parts.join("\0"), "latin1"), { durable: false });
    this.#fresh.clear();
  }

  #load(): Map<string, string> {
    let text: string;
    try {
      text = readFileSync(this.#file, "latin1");
    } catch (error) {
      if (hasErrno(error, "ENOENT")) return new Map();
      throw error;
    }
    const parts = text.split("\0");
    const known = new Map<string, string>();
    if (parts[0] !== header) return known;
    for (let i = 1; i + 1 < parts.length; i += 2) known.set(parts[i]!, parts[i + 1]!);
    return known;
  }
}

let scratch: Buffer | undefined;

function fileDigest(absolute: Buffer, size: number): string {
  const hash = createHash("sha256");
  if (size <= 1 << 16) return hash.update(readFileSync(absolute)).digest("hex");
  scratch ??= Buffer.allocUnsafe(1 << 20);
  const fd = openSync(absolute, "r");
  try {
    for (;;) {
      const count = readSync(fd, scratch, 0, scratch.length, null);
      if (count === 0) return hash.digest("hex");
      hash.update(scratch.subarray(0, count));
    }
  } finally {
    closeSync(fd);
  }
}

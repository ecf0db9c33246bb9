/**
 * Steps that have been done: `$AEGIS_HOME/cache/steps/<aa>/<key>` says which layer a step made, and when. A record counts
 * only while its layer's blob is in the store. Records are written once, whole, and never changed; what a power cut leaves of
 * one is told from a record and done without.
 */
import { mkdir, readdir } from "node:fs/promises";
import path from "node:path";
import type { Digest } from "../../support/brands.js";
import { hasErrno } from "../../support/errors.js";
import { readIfThere, replaceFile } from "../../support/files.js";
import type { AegisHome } from "../../support/home.js";
import { acquireLock, type HeldLock } from "../../support/locks.js";
import { keyOf, type LayerRef } from "../steps/step.js";

export interface StepRecord {
  readonly layer: LayerRef;
  /** When the step was done, RFC 3339. */
  readonly created: string;
}

export interface StepCache {
  find(key: string): Promise<StepRecord | undefined>;
  store(key: string, record: StepRecord): Promise<void>;
  /** Held while a step is done, so that concurrent builds do it once. */
  lock(key: string): Promise<HeldLock>;
  /** A small fact under a key, such as the digest of a tree that was read before. */
  recall(key: string): Promise<string | undefined>;
  remember(key: string, fact: string): Promise<void>;
}

export function openStepCache(
  home: AegisHome,
  present: (digest: LayerRef["descriptor"]["digest"]) => boolean,
): StepCache {
  const fileOf = (kind: string, key: string) => path.join(home.cache, kind, key.slice(0, 2), key.slice(2));
  return {
    async find(key) {
      const text = await readIfThere(fileOf("steps", key));
      const record = text === undefined ? undefined : parseRecord(text);
      return record && present(record.layer.descriptor.digest) ? record : undefined;
    },
    async store(key, record) {
      await write(fileOf("steps", key), JSON.stringify(record));
    },
    lock: (key) => acquireLock(path.join(home.locks, "steps", key)),
    async recall(key) {
      const text = await readIfThere(fileOf("facts", key));
      const fact = text?.slice(sealLength);
      return fact !== undefined && text === sealed(fact) ? fact : undefined;
    },
    remember: (key, fact) => write(fileOf("facts", key), sealed(fact)),
  };
}

/** A fact behind its own digest: one that a power cut garbled is unknown, not wrong. */
const sealed = (fact: string): string => `${keyOf(fact).slice(0, sealLength - 1)} ${fact}`;
const sealLength = 17;

/** Blobs that recorded steps lead to: what garbage collection must leave for the next build. */
export async function cachedLayers(home: Pick<AegisHome, "cache">): Promise<readonly Digest[]> {
  const directory = path.join(home.cache, "steps");
  const names = await readdir(directory, { recursive: true, withFileTypes: true }).catch((error) => {
    if (hasErrno(error, "ENOENT")) return [];
    throw error;
  });
  const records = names
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map(async (entry) => parseRecord((await readIfThere(path.join(entry.parentPath, entry.name))) ?? ""));
  return (await Promise.all(records)).flatMap((record) => (record ? [record.layer.descriptor.digest] : []));
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  // Waiting for the disk with every record would take a good part of a short build.
  await replaceFile(file, text, { durable: false });
}

/** A record that can't be read is a miss: the step is done again and its record replaced. */
function parseRecord(text: string): StepRecord | undefined {
  try {
    const record = JSON.parse(text) as Partial<StepRecord> | null;
    const layer = record?.layer;
    return layer?.descriptor?.digest && layer.diffId && record?.created ? (record as StepRecord) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * What running work needs and garbage collection must keep. A lease is a file of keys (digests, chain ids); an ephemeral one
 * is locked by its process, so the kernel ends it when the process dies, however it dies; a durable one stays until it is
 * dropped by its owner's name. A sweep runs while no lease can grow: nothing is collected between looking and pinning.
 */
import { randomBytes } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { hasErrno } from "./errors.js";
import { replaceFile } from "./files.js";
import { acquireLock, tryLock } from "./locks.js";

export interface Lease extends AsyncDisposable {
  /** Keys are safe from every sweep once this resolves; whether they still exist must be looked at afterwards. */
  add(...keys: readonly string[]): Promise<void>;
  release(): Promise<void>;
}

export interface LeaseBook {
  /** A lease that ends with this process at the latest. */
  open(): Promise<Lease>;
  /** A lease that outlives this process; replaces what `owner` kept before. */
  keep(owner: string, keys: readonly string[]): Promise<void>;
  drop(owner: string): Promise<void>;
  /** Owners of durable leases. */
  owners(): Promise<readonly string[]>;
  /** Runs `body` with every key that is held, while no lease can be opened or extended. */
  sweep<T>(body: (held: ReadonlySet<string>) => Promise<T>): Promise<T>;
}

const ephemeral = ".lease";
const durable = ".keep";

/** The leases of one directory; it is created when the first one is opened. */
export function openLeases(directory: string): LeaseBook {
  const barrier = path.join(directory, ".sweep.lock");
  const growing = async <T>(body: () => Promise<T>): Promise<T> => {
    await using _lock = await acquireLock(barrier, { shared: true });
    return await body();
  };
  const keptBy = (owner: string) => path.join(directory, `${encodeURIComponent(owner)}${durable}`);

  return {
    async open() {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const file = path.join(directory, `${process.pid}-${randomBytes(6).toString("hex")}${ephemeral}`);
      const lock = await growing(() => acquireLock(file));
      const known = new Set<string>();
      const release = async () => {
        await rm(file, { force: true });
        lock.release();
      };
      return {
        async add(...keys) {
          const fresh = keys.filter((key) => !known.has(key));
          if (fresh.length === 0) return;
          await growing(() => appendFile(file, fresh.map((key) => `${key}\n`).join("")));
          for (const key of fresh) known.add(key);
        },
        release,
        [Symbol.asyncDispose]: release,
      };
    },
    keep: (owner, keys) => growing(() => replaceFile(keptBy(owner), keys.map((key) => `${key}\n`).join(""))),
    drop: (owner) => growing(() => rm(keptBy(owner), { force: true })),
    async owners() {
      const files = await entriesOf(directory);
      return files.filter((f) => f.endsWith(durable)).map((f) => decodeURIComponent(f.slice(0, -durable.length)));
    },
    async sweep(body) {
      await using _lock = await acquireLock(barrier);
      return await body(await heldKeys(directory));
    },
  };
}

/** Keys of all living leases; files of dead processes are removed on the way. */
async function heldKeys(directory: string): Promise<ReadonlySet<string>> {
  const held = new Set<string>();
  for (const name of await entriesOf(directory)) {
    const file = path.join(directory, name);
    if (name.endsWith(ephemeral)) {
      const abandoned = await tryLock(file);
      if (abandoned) {
        await rm(file, { force: true });
        abandoned.release();
        continue;
      }
    } else if (!name.endsWith(durable)) continue;
    for (const key of (await readFile(file, "utf8")).split("\n")) if (key !== "") held.add(key);
  }
  return held;
}

async function entriesOf(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return [];
    throw error;
  }
}

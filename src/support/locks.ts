/** Advisory whole-file locks between processes; the kernel drops them when the holder dies, however it dies. */
import { closeSync, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout } from "node:timers/promises";

export interface LockOptions {
  readonly shared?: boolean;
}

export interface HeldLock extends AsyncDisposable {
  release(): void;
}

/**
 * Waits for the lock. `shared` locks exclude only exclusive ones. Lock files are left in place: removing them would race.
 * Polls, because a blocking wait holds a libuv thread that the holder may need to finish.
 */
export async function acquireLock(file: string, options: LockOptions = {}): Promise<HeldLock> {
  for (let pause = 5; ; pause = Math.min(pause * 1.5, 200)) {
    const lock = await tryLock(file, options);
    if (lock) return lock;
    await setTimeout(pause);
  }
}

/** The lock if it is free right now, else undefined. */
export async function tryLock(file: string, options: LockOptions = {}): Promise<HeldLock | undefined> {
  const { default: native } = await import("fs-native-extensions");
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const fd = openSync(file, "a+", 0o600);
  if (native.tryLock(fd, { shared: options.shared ?? false })) return held(fd);
  closeSync(fd);
  return undefined;
}

/** Runs `body` under an exclusive lock on `file`. */
export async function withLock<T>(file: string, body: () => Promise<T>): Promise<T> {
  await using _lock = await acquireLock(file);
  return await body();
}

function held(fd: number): HeldLock {
  let open = true;
  const release = () => {
    if (!open) return;
    open = false;
    closeSync(fd);
  };
  return { release, [Symbol.asyncDispose]: async () => release() };
}

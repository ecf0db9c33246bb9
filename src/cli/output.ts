/** Archives on their way to a file, a pipe or a device. */
import { once } from "node:events";
import { open } from "node:fs/promises";
import type { Writable } from "node:stream";
import { AegisError } from "../support/errors.js";
import { replaceFile } from "../support/files.js";

export type Put = (chunk: Uint8Array) => Promise<unknown>;

/** @throws AegisError USAGE when an archive would be printed on a terminal */
export function refuseTerminal(file: string | undefined, stdout: Writable): void {
  if (file !== undefined || !("isTTY" in stdout) || !stdout.isTTY) return;
  throw new AegisError("USAGE", "an archive would not look good on a terminal", {
    hint: "name a file with -o, or redirect the output",
  });
}

/**
 * Gives `body` what writes to `file`, or to standard output when there is none. Regular files appear whole or not at all;
 * pipes and devices are written as they are.
 */
export async function withOutput(
  file: string | undefined,
  stdout: Writable,
  body: (put: Put) => Promise<void>,
): Promise<void> {
  if (file === undefined) {
    await body(async (chunk) => {
      if (!stdout.write(Buffer.from(chunk))) await once(stdout, "drain");
    });
    return;
  }
  const existing = await open(file, "r+").catch(() => undefined);
  const isSpecial = existing !== undefined && !(await existing.stat()).isFile();
  await existing?.close();
  if (!isSpecial) {
    await replaceFile(file, (target) => body((chunk) => target.writeFile(chunk)), { mode: 0o600 });
    return;
  }
  const device = await open(file, "w");
  try {
    await body((chunk) => device.writeFile(chunk));
  } finally {
    await device.close();
  }
}

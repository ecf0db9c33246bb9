/** The guest kernel: the one that libkrunfw carries, taken out once and kept in `boot/` for both VMMs. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { AegisError } from "../../support/errors.js";
import { replaceFile } from "../../support/files.js";
import type { AegisHome } from "../../support/home.js";
import { type RawKernel, wrapKernel } from "./elf.js";
import { findLibkrunfw, helper } from "./locate.js";

const PREFIX_SIZE = 24;
const KERNEL_MAX = 256 * 1024 * 1024;

/**
 * Path of a kernel file for this machine: ELF on x86-64, the raw image elsewhere.
 * @throws AegisError KERNEL_MISSING, HELPER_MISSING
 */
export async function ensureKernel(home: AegisHome): Promise<string> {
  const library = findLibkrunfw(home);
  if (!library) {
    throw new AegisError("KERNEL_MISSING", "there is no guest kernel: libkrunfw 5 is not installed", {
      hint: "run `aegis doctor --fix`",
    });
  }
  const { size, mtimeMs } = await stat(library);
  const key = createHash("sha256")
    .update(`${await realpath(library)}\0${size}\0${mtimeMs}`)
    .digest("hex")
    .slice(0, 12);
  const target = path.join(home.boot, `vmlinux-${key}${process.arch === "x64" ? ".elf" : ""}`);
  if (existsSync(target)) return target;
  const kernel = await readKernel(library);
  const parts = process.arch === "x64" ? wrapKernel(kernel) : [kernel.bytes];
  await replaceFile(target, async (file) => {
    for (const part of parts) await file.writeFile(part);
  });
  return target;
}

/** Asks the library itself (krunfw_get_kernel), in a process of its own. */
async function readKernel(library: string): Promise<RawKernel> {
  try {
    const { stdout } = await promisify(execFile)(helper("aegis-krun"), ["kernel", library], {
      encoding: "buffer",
      maxBuffer: KERNEL_MAX,
    });
    const bytes = stdout.subarray(PREFIX_SIZE);
    if (stdout.length < PREFIX_SIZE || BigInt(bytes.length) !== stdout.readBigUInt64LE(16)) {
      throw new Error(`${stdout.length} bytes are not a kernel`);
    }
    return { bytes, load: stdout.readBigUInt64LE(0), entry: stdout.readBigUInt64LE(8) };
  } catch (error) {
    if (error instanceof AegisError) throw error;
    throw new AegisError("KERNEL_MISSING", `no guest kernel can be taken out of ${library}`, {
      hint: "run `aegis doctor --fix`",
      cause: error,
    });
  }
}

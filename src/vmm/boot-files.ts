import type { AegisHome } from "../support/home.js";
import { ensureBootDisk } from "./parts/boot-disk.js";
import { ensureKernel } from "./parts/kernel.js";

/** For MachineSpec. */
export interface BootFiles {
  readonly kernel: string;
  readonly bootDisk: string;
}

/**
 * Kernel and boot disk, made when they are missing or out of date.
 * @throws AegisError KERNEL_MISSING, HELPER_MISSING
 */
export async function ensureBootFiles(home: AegisHome): Promise<BootFiles> {
  const [kernel, bootDisk] = await Promise.all([ensureKernel(home), ensureBootDisk(home)]);
  return { kernel, bootDisk };
}

/** The parts that real machines are made of. */
import { randomBytes } from "node:crypto";
import { connectGuest } from "../../guest/index.js";
import { createWritableDisk } from "../../rootfs/writable.js";
import { parseDuration } from "../../support/durations.js";
import { ensureBootFiles, startMachine, startNetwork } from "../../vmm/index.js";
import { presentLowers } from "../lowers.js";
import type { Parts } from "./parts.js";

/** Emulated on a busy machine a boot takes some seconds, natively a fraction of one. */
const defaultHelloMs = 30_000;

export function houseParts(env: NodeJS.ProcessEnv): Parts {
  return {
    bootFiles: ensureBootFiles,
    network: startNetwork,
    machine: async (_home, spec, driver) => await startMachine(spec, { driver }),
    connectGuest,
    helloTimeoutMs: env.AEGIS_BOOT_TIMEOUT ? parseDuration(env.AEGIS_BOOT_TIMEOUT, "s") : defaultHelloMs,
    // Never disposed of: what was made again stays pinned for as long as the machine may boot from it.
    lowers: async (home, config) => (await presentLowers(home, config)).disks.lowers.map((lower) => lower.path),
    createDisk: async (file, sizeBytes, over) =>
      await createWritableDisk(file, {
        sizeBytes,
        uuid: randomBytes(16),
        disks: over && { chainId: over.chainId, lowers: over.lowers },
      }),
  };
}

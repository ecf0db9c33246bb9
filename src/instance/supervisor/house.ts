/** The parts that real machines are made of. */
import { randomBytes } from "node:crypto";
import { stat } from "node:fs/promises";
import { connectGuest } from "../../guest/index.js";
import { openImageStore } from "../../oci/store.js";
import { ensureRootDisks } from "../../rootfs/disks.js";
import { createWritableDisk } from "../../rootfs/writable.js";
import { parseDuration } from "../../support/durations.js";
import { AegisError } from "../../support/errors.js";
import { ensureBootFiles, startMachine, startNetwork } from "../../vmm/index.js";
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
    lowers: async (home, { image, name }) => {
      const paths = image.lowers.map((lower) => lower.path);
      const there = await Promise.all(paths.map((file) => stat(file).catch(() => undefined)));
      if (there.every((found) => found !== undefined)) return paths;
      const store = await openImageStore(home.images);
      try {
        const stored = await store.resolve(image.digest);
        if (!stored) {
          throw new AegisError(
            "IMAGE_GONE",
            `${name} was made from ${image.reference}, whose image and disks are gone`,
            {
              hint: "get the same image again, or run a new instance",
              details: { digest: image.digest },
            },
          );
        }
        const layers = stored.manifest.layers;
        const root = await ensureRootDisks(home, store, { config: stored.config, layers });
        return root.lowers.map((lower) => lower.path);
      } finally {
        await store.close();
      }
    },
    createDisk: async (file, sizeBytes, over) =>
      await createWritableDisk(file, {
        sizeBytes,
        uuid: randomBytes(16),
        disks: over && { chainId: over.chainId, lowers: over.lowers },
      }),
  };
}

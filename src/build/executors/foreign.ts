/** Whether programs of a platform run here: the processor's own, what it runs besides, and what an emulator is registered for. */
import { readFile } from "node:fs/promises";
import { formatPlatform, hostPlatform, isServedBy } from "../../oci/platforms.js";
import type { Platform } from "../../oci/types.js";
import { AegisError } from "../../support/errors.js";

/** Names under which QEMU's user mode is registered, by Go's names of architectures. */
const emulators: Readonly<Record<string, string>> = {
  "386": "i386",
  amd64: "x86_64",
  arm: "arm",
  arm64: "aarch64",
  loong64: "loongarch64",
  mips64le: "mips64el",
  ppc64le: "ppc64le",
  riscv64: "riscv64",
  s390x: "s390x",
};

/** What a processor runs without help. */
const alsoRuns: Readonly<Record<string, readonly string[]>> = { amd64: ["386"], arm64: ["arm"] };

/** @throws AegisError RUN_FOREIGN_PLATFORM */
export async function checkRunnable(
  platform: Platform,
  executor: "container" | "vm",
  excerpt: string,
  host = hostPlatform(),
): Promise<void> {
  if (isServedBy(host, platform) || alsoRuns[host.architecture]?.includes(platform.architecture)) return;
  // An emulator of the host's is not in the machine, whose kernel has to know it.
  if (executor === "container" && (await isEmulated(platform.architecture))) return;
  throw new AegisError(
    "RUN_FOREIGN_PLATFORM",
    `RUN for ${formatPlatform(platform)} can't be done on ${formatPlatform(host)}: no emulator is registered for it`,
    {
      hint: "do the work in a stage of the building platform (FROM --platform=$BUILDPLATFORM), or install qemu-user-static and build with --isolation container",
      context: excerpt,
    },
  );
}

/** Emulators have to be registered with the flag F, which opens them at once: the step's root lacks them. */
async function isEmulated(architecture: string): Promise<boolean> {
  const name = emulators[architecture];
  if (name === undefined) return false;
  const entry = await readFile(`/proc/sys/fs/binfmt_misc/qemu-${name}`, "utf8").catch(() => "");
  return /^enabled$/m.test(entry) && /^flags: .*F/m.test(entry);
}

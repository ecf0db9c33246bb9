/** Picks where RUN steps run: in a microVM where hardware virtualization is usable, else in a container for root on Linux. */
import { AegisError } from "../../support/errors.js";
import type { AegisHome } from "../../support/home.js";
import type { Progress } from "../progress.js";
import type { Isolation } from "../types.js";
import type { Executor } from "./types.js";

/** The executor, chosen when a step asks for it first. */
export function lazyExecutor(home: AegisHome, isolation: Isolation, progress: Progress): () => Promise<Executor> {
  let chosen: Promise<Executor> | undefined;
  return () => {
    chosen ??= choose(home, isolation, progress);
    return chosen;
  };
}

async function choose(home: AegisHome, isolation: Isolation, progress: Progress): Promise<Executor> {
  if (isolation === "container") return await container(home);
  if (isolation === "vm") return await vm(home);
  const { kvmVerdict } = await import("../../vmm/kvm.js");
  const verdict = kvmVerdict();
  if (verdict.usable) return await vm(home);
  if (process.platform === "linux" && process.getuid?.() === 0) return await container(home);
  progress.warn({
    text: `RUN steps run in an emulated machine, which is slow: ${verdict.reason}. With hardware virtualization, or as root, they run at full speed`,
  });
  return await vm(home);
}

async function vm(home: AegisHome): Promise<Executor> {
  const { vmExecutor } = await import("./vm.js");
  return vmExecutor(home);
}

/** @throws AegisError ISOLATION_UNAVAILABLE */
async function container(home: AegisHome): Promise<Executor> {
  const hint = "use --isolation vm, which needs no root; `aegis doctor` tells what is missing";
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new AegisError("ISOLATION_UNAVAILABLE", "RUN steps in a container need Linux and root", { hint });
  }
  const { containerExecutor, findContainerTools } = await import("./container.js");
  const tools = await findContainerTools(process.env);
  if ("missing" in tools) {
    throw new AegisError(
      "ISOLATION_UNAVAILABLE",
      `RUN steps in a container need ${tools.missing}, which is not installed`,
      {
        hint,
      },
    );
  }
  return containerExecutor(home, tools);
}

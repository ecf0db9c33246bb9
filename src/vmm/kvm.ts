/**
 * Whether hardware virtualization can be used. /dev/kvm alone says little: it may exist in a container or a VM whose
 * processor has no virtualization, and a guest then ends in an internal error.
 */
import { closeSync, openSync, readFileSync } from "node:fs";

export interface KvmVerdict {
  readonly usable: boolean;
  /** One clause, for people. */
  readonly reason: string;
}

/** What the rule looks at; replaceable in tests. */
export interface KvmFacts {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** errno name when /dev/kvm can't be opened read-write. */
  readonly deviceError: string | undefined;
  readonly cpuinfo: string;
}

export function judgeKvm(facts: KvmFacts): KvmVerdict {
  if (facts.platform === "darwin") {
    return facts.arch === "arm64"
      ? { usable: true, reason: "Apple's Hypervisor framework" }
      : { usable: false, reason: "libkrun needs a Mac with Apple silicon" };
  }
  if (facts.deviceError === "ENOENT") return { usable: false, reason: "there is no /dev/kvm" };
  if (facts.deviceError) return { usable: false, reason: `/dev/kvm can't be opened (${facts.deviceError})` };
  if (facts.arch === "x64" && !/^flags\s*:.*\b(vmx|svm)\b/m.test(facts.cpuinfo)) {
    return { usable: false, reason: "/dev/kvm exists, but the processor shows neither vmx nor svm" };
  }
  return { usable: true, reason: "/dev/kvm opens and the processor has virtualization" };
}

export function kvmVerdict(): KvmVerdict {
  const linux = process.platform === "linux";
  return judgeKvm({
    platform: process.platform,
    arch: process.arch,
    deviceError: linux ? deviceError("/dev/kvm") : undefined,
    cpuinfo: linux ? readFileSync("/proc/cpuinfo", "utf8") : "",
  });
}

function deviceError(device: string): string | undefined {
  try {
    closeSync(openSync(device, "r+"));
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "error";
  }
}

/** Platforms in Go's words (OCI image spec, image-index.md) and which of several fits a wanted one. */
import { AegisError } from "../support/errors.js";
import type { Platform } from "./types.js";

const goArchitectures: Readonly<Record<string, string>> = {
  x64: "amd64",
  x86_64: "amd64",
  "x86-64": "amd64",
  ia32: "386",
  i386: "386",
  i686: "386",
  aarch64: "arm64",
  armhf: "arm",
  armel: "arm",
  ppc64: "ppc64le",
};

const known = /^(amd64|386|arm|arm64|ppc64|ppc64le|s390x|riscv64|loong64|mips|mipsle|mips64|mips64le|wasm)$/;

/** What runs here; guests are Linux whatever the host is. */
export const hostPlatform = (): Platform => normalisePlatform({ os: "linux", architecture: process.arch });

/**
 * Reads `linux/arm64/v8`, `linux/amd64`, or an architecture alone.
 * @throws AegisError BAD_PLATFORM
 */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  const [os, architecture, variant] = parts.length === 1 && parts[0] !== "linux" ? ["linux", parts[0]] : parts;
  const platform = normalisePlatform({
    os: os ?? "",
    architecture: architecture ?? hostPlatform().architecture,
    ...(variant ? { variant } : {}),
  });
  if (parts.length > 3 || !/^[a-z0-9]+$/.test(platform.os) || !known.test(platform.architecture)) {
    throw new AegisError("BAD_PLATFORM", `"${text}" is not a platform`, {
      hint: "write it like linux/amd64 or linux/arm64",
    });
  }
  return platform;
}

/** Go's names; the variants that an architecture has anyway are dropped (arm64's v8) or spelt out (arm's v7). */
export function normalisePlatform(platform: Platform): Platform {
  const { architecture: raw, variant: given, ...rest } = platform;
  const architecture = goArchitectures[raw] ?? raw;
  const variant = given || (raw === "armel" ? "v6" : architecture === "arm" ? "v7" : undefined);
  const implied = (architecture === "arm64" && variant === "v8") || (architecture === "amd64" && variant === "v1");
  return { ...rest, architecture, ...(variant && !implied ? { variant: variant.replace(/^(?=\d)/, "v") } : {}) };
}

export const formatPlatform = (platform: Platform): string =>
  [platform.os, platform.architecture, ...(platform.variant ? [platform.variant] : [])].join("/");

/** How well `offered` serves `wanted`: undefined not at all, otherwise more is better. */
function fitness(offered: Platform, wanted: Platform): number | undefined {
  const have = normalisePlatform(offered);
  const want = normalisePlatform(wanted);
  if (have.os !== want.os || have.architecture !== want.architecture) return undefined;
  const level = (p: Platform) => Number(/^v(\d+)/.exec(p.variant ?? "")?.[1] ?? (p.architecture === "arm64" ? 8 : 1));
  // A processor runs what was built for a lower variant of it, never for a higher one.
  return level(have) <= level(want) ? level(have) : undefined;
}

/** Whether an image of one platform runs where another is wanted. */
export const isServedBy = (wanted: Platform, offered: Platform): boolean => fitness(offered, wanted) !== undefined;

/** The candidate that fits best; the first one of equals. */
export function choosePlatform<T>(
  candidates: readonly T[],
  platformOf: (candidate: T) => Platform | undefined,
  wanted: Platform,
): T | undefined {
  let best: { readonly candidate: T; readonly score: number } | undefined;
  for (const candidate of candidates) {
    const platform = platformOf(candidate);
    const score = platform && fitness(platform, wanted);
    if (score !== undefined && (best === undefined || score > best.score)) best = { candidate, score };
  }
  return best?.candidate;
}

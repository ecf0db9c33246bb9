import { AegisError } from "./errors.js";

const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * Milliseconds of a duration in Go's notation: `10m`, `1h30m`, `1.5s`, `300ms`, `0`. A bare number is seconds when
 * `bareUnit` says so, as in `stop --time 30`.
 * @throws AegisError BAD_DURATION
 */
export function parseDuration(text: string, bareUnit?: "s"): number {
  if (text === "0") return 0;
  if (bareUnit === "s" && /^\d+$/.test(text)) return Number(text) * 1000;
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map((p) => p[0]).join("") !== text) {
    throw new AegisError("BAD_DURATION", `"${text}" is not a duration`, { hint: "write it like 90s, 10m or 1h30m" });
  }
  return parts.reduce((sum, part) => sum + Number(part[1]) * units[part[2]!]!, 0);
}

/** Milliseconds for people: `850ms`, `2.4s`, `3m12s`, `5h02m`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)}s`;
  const minutes = Math.floor(ms / 60_000);
  const pad = (n: number) => String(n).padStart(2, "0");
  if (minutes < 60) return `${minutes}m${pad(Math.floor((ms % 60_000) / 1000))}s`;
  return `${Math.floor(minutes / 60)}h${pad(minutes % 60)}m`;
}

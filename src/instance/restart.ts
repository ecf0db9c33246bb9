/** Restart policies, as Docker has them. */
import { AegisError } from "../support/errors.js";
import type { RestartPolicy } from "./types.js";

/** `no`, `always`, `unless-stopped`, `on-failure`, `on-failure:5`. @throws AegisError BAD_RESTART */
export function parseRestart(text: string): RestartPolicy {
  const [kind, count, ...more] = text.split(":");
  if (more.length === 0) {
    if (kind === "on-failure" && (count === undefined || /^\d{1,6}$/.test(count))) {
      return { kind, maxRetries: count === undefined ? undefined : Number(count) };
    }
    if (count === undefined && (kind === "no" || kind === "always" || kind === "unless-stopped")) return { kind };
  }
  throw new AegisError("BAD_RESTART", `"${text}" is not a restart policy`, {
    hint: "it is no, on-failure, on-failure:N, always or unless-stopped",
  });
}

export const formatRestart = (policy: RestartPolicy): string =>
  policy.kind === "on-failure" && policy.maxRetries !== undefined ? `on-failure:${policy.maxRetries}` : policy.kind;

export interface RestartHistory {
  /** Restarts so far, without interruption by a stop. */
  readonly count: number;
  readonly delayMs: number;
}

const firstDelayMs = 100;
const longestDelayMs = 60_000;
/** A run this long makes the next delay short again. */
const healthyMs = 10_000;

/** The next restart, or undefined when the instance stays down. */
export function nextRestart(
  policy: RestartPolicy,
  run: { readonly exitCode: number; readonly ranMs: number; readonly stoppedByUser: boolean },
  before: RestartHistory,
): RestartHistory | undefined {
  if (run.stoppedByUser || policy.kind === "no") return undefined;
  if (policy.kind === "on-failure") {
    if (run.exitCode === 0) return undefined;
    if (policy.maxRetries !== undefined && before.count >= policy.maxRetries) return undefined;
  }
  const delayMs =
    run.ranMs >= healthyMs ? firstDelayMs : Math.min(Math.max(before.delayMs * 2, firstDelayMs), longestDelayMs);
  return { count: before.count + 1, delayMs };
}

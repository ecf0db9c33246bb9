import { parseDuration } from "../support/durations.js";
import { AegisError } from "../support/errors.js";

/** Milliseconds since the epoch of `2026-01-31T10:00:00Z`, a unix time in seconds, or a duration ago (`10m`). @throws AegisError BAD_TIME */
export function parseMoment(text: string, now = Date.now()): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const absolute = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(absolute)) return absolute;
  try {
    return now - parseDuration(text);
  } catch (cause) {
    throw new AegisError("BAD_TIME", `"${text}" is not a moment`, {
      hint: "write 2026-01-31T10:00:00Z, a unix time, or how long ago: 10m",
      cause,
    });
  }
}

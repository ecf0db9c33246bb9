/** How instances look in lists. */
import type { Instance } from "../../instance/types.js";

/** `Up 3 minutes`, `Exited (1) 2 hours ago: out of memory`. */
export function statusLine({ state }: Instance): string {
  switch (state.status) {
    case "created":
      return "Created";
    case "starting":
      return state.restartCount ? `Restarting (${state.exitCode})` : "Starting";
    case "running":
      return `Up ${formatAge(state.startedAt)}`;
    case "paused":
      return `Up ${formatAge(state.startedAt)} (${state.pausedBy === "idle" ? "idle" : "paused"})`;
    case "stopping":
      return "Stopping";
    case "exited": {
      const when = state.finishedAt ? ` ${formatAge(state.finishedAt)} ago` : "";
      const why = state.oomKilled ? ": out of memory" : "";
      return `Exited (${state.exitCode ?? "?"})${when}${why}`;
    }
  }
}

const steps = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 7],
  ["week", 52],
  ["year", Number.POSITIVE_INFINITY],
] as const;

/** `5 seconds`, `1 hour`: the largest unit that fits. */
export function formatAge(since: string | undefined, now = Date.now()): string {
  let value = since === undefined ? 0 : Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  for (const [unit, size] of steps) {
    if (value < size) return `${value} ${unit}${value === 1 ? "" : "s"}`;
    value = Math.floor(value / size);
  }
  return "";
}

import type { Instance } from "../instance/types.js";
import { usageError } from "./argv.js";

export interface InstanceFilter {
  matches(instance: Instance): boolean;
  /** The filter itself names instances that are down. */
  readonly asksForDown: boolean;
}

const keys = ["name", "id", "status", "label", "ancestor", "exited"];

/** `ps --filter`: values of one key are alternatives, different keys must all hold. @throws AegisError USAGE */
export function instanceFilter(filters: readonly string[]): InstanceFilter {
  const wanted = new Map<string, string[]>();
  for (const filter of filters) {
    const equals = filter.indexOf("=");
    const key = filter.slice(0, Math.max(equals, 0));
    if (!keys.includes(key)) throw usageError(`--filter ${filter}: the key is one of ${keys.join(", ")}`, "ps");
    wanted.set(key, [...(wanted.get(key) ?? []), filter.slice(equals + 1)]);
  }
  const statuses = wanted.get("status") ?? [];
  return {
    matches: (instance) =>
      [...wanted].every(([key, values]) =>
        key === "label" ? values.every((v) => hasLabel(instance, v)) : values.some((v) => holds(instance, key, v)),
      ),
    asksForDown: wanted.has("exited") || statuses.some((status) => status === "exited" || status === "created"),
  };
}

function holds({ config, state }: Instance, key: string, value: string): boolean {
  switch (key) {
    case "name":
      return config.name.includes(value);
    case "id":
      return config.id.startsWith(value);
    case "status":
      return state.status === value;
    case "ancestor":
      return (
        config.image.reference === value ||
        config.image.reference.replace(/:[^/:]*$/, "") === value ||
        config.image.digest.startsWith(value)
      );
    default:
      return state.status === "exited" && state.exitCode === Number(value);
  }
}

function hasLabel({ config }: Instance, wanted: string): boolean {
  const [key = "", ...value] = wanted.split("=");
  if (!Object.hasOwn(config.labels, key)) return false;
  return value.length === 0 || config.labels[key] === value.join("=");
}

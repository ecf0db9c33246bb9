/** Lines of the app's own logs: what in them tells of an error. */

const deepest = 8;

/**
 * The error that a log line tells of. With a field (a name, or a dotted path), the line is JSON and the field's text is the error,
 * wherever a field of that name stands; without one, the line itself.
 */
export function errorOfLine(line: string, field: string | undefined): string | undefined {
  if (field === undefined) return line.trim() === "" ? undefined : line;
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    return undefined;
  }
  return textOf(field.split(".").reduce(member, record)) ?? find(record, field, 0);
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function find(value: unknown, name: string, depth: number): string | undefined {
  if (typeof value !== "object" || value === null || depth > deepest) return undefined;
  const own = textOf(member(value, name));
  if (own !== undefined) return own;
  for (const inner of Object.values(value)) {
    const found = find(inner, name, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value.trim() === "" ? undefined : value;
  if (typeof value === "object" && value !== null) return textOf(member(value, "message"));
  return undefined;
}

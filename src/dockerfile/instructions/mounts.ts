/** The comma-separated options of `RUN --mount`. */
import { parseBoolean } from "../../support/booleans.js";
import { AegisError } from "../../support/errors.js";
import { parseSize } from "../../support/sizes.js";
import { Fault } from "../errors.js";
import { suggestion } from "../suggest.js";
import { cut } from "../text.js";
import type { RunMount } from "../types.js";

type Draft = { -readonly [K in keyof RunMount]?: RunMount[K] };
type MountType = RunMount["type"];

const mountTypes: readonly MountType[] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const sharingModes = ["shared", "private", "locked"] as const;

const aliases: Readonly<Record<string, string>> = {
  src: "source",
  dst: "target",
  destination: "target",
  ro: "readonly",
  rw: "readwrite",
};
const keys = [
  "type",
  "from",
  "source",
  "target",
  "readonly",
  "readwrite",
  "id",
  "sharing",
  "required",
  "mode",
  "uid",
  "gid",
  "size",
  "env",
];

/**
 * What can be said of a mount before variables are expanded: where it comes from. Options are checked when they are expanded.
 * @throws Fault
 */
export function unexpandedMount(spec: string): RunMount {
  let from: string | undefined;
  for (const field of csvFields(spec)) {
    const [key, value] = cut(field, "=");
    if (key.toLowerCase() !== "from" || value === undefined) continue;
    if (/\$./.test(value)) {
      throw new Fault("variables are not expanded in the mount option from=", {
        hint: "name a stage with FROM $VARIABLE AS name and mount from that",
        at: field,
      });
    }
    from = value;
  }
  return { spec, type: "bind", readOnly: true, required: false, ...(from ? { from } : {}) };
}

/**
 * All options, values passed through `expand`.
 * @throws Fault
 */
export function expandMount(spec: string, expand: (word: string) => string): RunMount {
  const draft: Draft = {};
  for (const field of csvFields(spec)) setOption(draft, field, expand);
  return checked(spec, draft);
}

function setOption(draft: Draft, field: string, expand: (word: string) => string): void {
  const [written, raw] = cut(field, "=");
  const lower = written.toLowerCase();
  const key = aliases[lower] ?? lower;
  const type = draft.type ?? "bind";
  const needsType = (...types: MountType[]) => {
    if (!types.includes(type)) throw new Fault(`a ${type} mount has no option ${written}`, { at: field });
  };
  if (raw === undefined) {
    if (key === "readonly" || key === "readwrite") draft.readOnly = key === "readonly";
    else if (key === "required") {
      needsType("secret", "ssh");
      draft.required = true;
    } else {
      const hint = suggestion(written, ["readonly", "readwrite", "required"], `write ${written}=VALUE`);
      throw new Fault(`the mount option ${field} needs a value`, { hint, at: field });
    }
    return;
  }
  const value = expand(raw);
  switch (key) {
    case "type":
      draft.type = oneOf(value, mountTypes, "mount type", field);
      return;
    case "from":
      // Empty it is the context, as if it weren't there.
      if (value === "") delete draft.from;
      else draft.from = value;
      return;
    case "source":
    case "target":
    case "id":
    case "env":
      draft[key] = value;
      return;
    case "readonly":
      draft.readOnly = booleanOf(value, field);
      return;
    case "readwrite":
      draft.readOnly = !booleanOf(value, field);
      return;
    case "required":
      needsType("secret", "ssh");
      draft.required = booleanOf(value, field);
      return;
    case "size":
      needsType("tmpfs");
      draft.size = sizeOf(value, field);
      return;
    case "sharing":
      draft.sharing = oneOf(value, sharingModes, "sharing mode", field);
      return;
    case "mode":
      draft.mode = numberOf(value, 8, field);
      return;
    case "uid":
    case "gid":
      draft[key] = numberOf(value, 10, field);
      return;
    default:
      throw new Fault(`unknown mount option ${written}`, {
        hint: suggestion(written, keys, `known: ${keys.join(", ")}`),
        at: field,
      });
  }
}

function checked(spec: string, draft: Draft): RunMount {
  const type = draft.type ?? "bind";
  const refuse = (message: string) => new Fault(message, { at: spec });
  if (type === "bind" || type === "tmpfs") {
    for (const key of ["mode", "uid", "gid"] as const) {
      if (draft[key] !== undefined) throw refuse(`a ${type} mount has no option ${key}`);
    }
  }
  if (draft.sharing !== undefined && type !== "cache") throw refuse(`a ${type} mount has no option sharing`);
  if (type === "secret") {
    if (draft.from) throw refuse("a secret mount has no option from");
    if (!draft.source && !draft.target && !draft.id) throw refuse("a secret mount needs id= or target=");
    if (draft.source && draft.id) throw refuse("a secret mount takes source= or id=, not both");
  }
  const readOnly = draft.readOnly ?? !(type === "cache" || type === "tmpfs");
  return { ...draft, spec, type, readOnly, required: draft.required ?? false };
}

function oneOf<T extends string>(value: string, allowed: readonly T[], what: string, field: string): T {
  const found = allowed.find((candidate) => candidate === value.toLowerCase());
  if (found !== undefined) return found;
  throw new Fault(`unknown ${what} "${value}"`, {
    hint: suggestion(value, allowed, `it is one of ${allowed.join(", ")}`),
    at: field,
  });
}

function booleanOf(value: string, field: string): boolean {
  const parsed = parseBoolean(value);
  if (parsed !== undefined) return parsed;
  throw new Fault(`"${value}" is neither true nor false`, { at: field });
}

function numberOf(value: string, base: 8 | 10, field: string): number {
  const digits = base === 8 ? /^[0-7]+$/ : /^[0-9]+$/;
  const number = digits.test(value) ? Number.parseInt(value, base) : Number.NaN;
  if (number <= 0xffffffff) return number;
  throw new Fault(`"${value}" is not ${base === 8 ? "an octal number" : "a number"}`, { at: field });
}

function sizeOf(value: string, field: string): number {
  try {
    return parseSize(value);
  } catch (error) {
    if (!(error instanceof AegisError)) throw error;
    throw new Fault(error.message, { hint: error.hint, at: field });
  }
}

/** One record of RFC 4180 CSV: fields may be in double quotes, a quote in them doubled. @throws Fault */
function csvFields(text: string): string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    let field = "";
    if (text[at] === '"') {
      at++;
      for (;;) {
        const end = text.indexOf('"', at);
        if (end < 0) throw new Fault("a quote is not closed in --mount", { at: text });
        field += text.slice(at, end);
        at = end + 1;
        if (text[at] !== '"') break;
        field += '"';
        at++;
      }
      if (at < text.length && text[at] !== ",") throw new Fault("text follows a quoted value in --mount", { at: text });
    } else {
      const end = text.indexOf(",", at);
      field = text.slice(at, end < 0 ? undefined : end);
      if (field.includes('"')) throw new Fault('a " stands inside an unquoted value in --mount', { at: field });
      at += field.length;
    }
    fields.push(field);
    if (at >= text.length) return fields;
    at++;
  }
}

/** `--name=value` flags between an instruction's name and its arguments. */
import { Fault } from "./errors.js";
import { suggestion } from "./suggest.js";
import { cut, isSpace } from "./text.js";

/** What an instruction allows: `list` flags may be repeated. */
export type FlagTable = Readonly<Record<string, "text" | "boolean" | "list">>;

/** Values given, by name. */
export interface Flags {
  text(name: string): string | undefined;
  boolean(name: string): boolean | undefined;
  list(name: string): readonly string[];
}

/**
 * Takes the flags off the front of an instruction's arguments. Quotes may surround a value or part of it and are removed; the escape
 * character takes the next character literally; `--` alone ends the flags.
 */
export function extractFlags(
  text: string,
  escapeCharacter: string,
): { readonly flags: readonly string[]; readonly rest: string } {
  const chars = [...text];
  const flags: string[] = [];
  let i = 0;
  for (;;) {
    while (i < chars.length && isSpace(chars[i]!)) i++;
    if (chars[i] !== "-" || chars[i + 1] !== "-") return { flags, rest: chars.slice(i).join("") };
    let word = "";
    let quote: string | undefined;
    for (; i < chars.length && (quote !== undefined || !isSpace(chars[i]!)); i++) {
      const ch = chars[i]!;
      if (ch === quote) quote = undefined;
      else if (quote === undefined && (ch === "'" || ch === '"')) quote = ch;
      else if (ch !== escapeCharacter) word += ch;
      else if (i + 1 < chars.length) word += chars[++i]!;
    }
    if (word === "--") return { flags, rest: chars.slice(i).join("") };
    // The reference takes flags byte by byte: a character that has several becomes as many characters.
    flags.push(Buffer.from(word, "utf8").toString("latin1"));
  }
}

/**
 * Checks raw flags against what the instruction allows.
 * @throws Fault on unknown, repeated or malformed flags
 */
export function readFlags(raw: readonly string[], table: FlagTable, instruction: string): Flags {
  const texts = new Map<string, string>();
  const booleans = new Map<string, boolean>();
  const lists = new Map<string, string[]>();
  for (const flag of raw) {
    const [name, value] = cut(flag.slice(2), "=");
    const kind = Object.hasOwn(table, name) ? table[name] : undefined;
    if (kind === undefined) throw unknownFlag(name, table, instruction);
    if (texts.has(name) || booleans.has(name)) throw new Fault(`--${name} is given twice`, { at: `--${name}` });
    if (kind === "boolean") booleans.set(name, booleanValue(name, value));
    else if (value === undefined)
      throw new Fault(`--${name} needs a value`, { hint: `write --${name}=VALUE`, at: flag });
    else if (kind === "text") texts.set(name, value);
    else lists.set(name, [...(lists.get(name) ?? []), value]);
  }
  return {
    text: (name) => texts.get(name),
    boolean: (name) => booleans.get(name),
    list: (name) => lists.get(name) ?? [],
  };
}

function unknownFlag(name: string, table: FlagTable, instruction: string): Fault {
  const known = Object.keys(table).map((flag) => `--${flag}`);
  const otherwise = known.length > 0 ? `${instruction} knows ${known.join(", ")}` : `${instruction} takes no flags`;
  return new Fault(`unknown flag --${name} for ${instruction}`, {
    code: "DOCKERFILE_UNKNOWN_FLAG",
    hint: suggestion(`--${name}`, known, otherwise),
    at: `--${name}`,
  });
}

function booleanValue(name: string, value: string | undefined): boolean {
  if (value === undefined) return true;
  const lower = value.toLowerCase();
  if (lower === "true" || lower === "false") return lower === "true";
  throw new Fault(value === "" ? `--${name}= needs a value` : `--${name} is either true or false, not "${value}"`, {
    hint: `write --${name} or --${name}=false`,
    at: `--${name}`,
  });
}

/** Splitting of an instruction's arguments into raw words: quotes and escapes are respected and stay as written. */
import { isSpace } from "./text.js";

/** Words of ENV, LABEL and ARG: blanks in quotes or behind an escape don't split. */
export function splitQuotedWords(text: string, escapeCharacter: string): string[] {
  const chars = [...text];
  const words: string[] = [];
  let word = "";
  let quote: string | undefined;
  for (let i = 0; i < chars.length; i++) {
    const ch = chars[i]!;
    if (quote === undefined && isSpace(ch)) {
      if (word !== "") words.push(word);
      word = "";
      continue;
    }
    if (ch === escapeCharacter && quote !== "'") {
      // An escape that ends the text is dropped; any other keeps its character from ending a word or a quote.
      if (i + 1 === chars.length) break;
      word += ch + chars[++i]!;
      continue;
    }
    if (quote === undefined && (ch === "'" || ch === '"')) quote = ch;
    else if (ch === quote) quote = undefined;
    word += ch;
  }
  if (word !== "") words.push(word);
  return words;
}

/**
 * Members of a JSON array of strings; undefined when the text is no JSON array at all, `"not-strings"` when it is one with something
 * else in it.
 */
export function parseJsonForm(text: string): readonly string[] | "not-strings" | undefined {
  if (!text.startsWith("[")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  if (!value.every((member): member is string => typeof member === "string")) return "not-strings";
  return value.map(wellFormed);
}

/** Lone surrogates become U+FFFD: they can't be written as UTF-8. */
const wellFormed = (text: string): string => Buffer.from(text, "utf8").toString("utf8");

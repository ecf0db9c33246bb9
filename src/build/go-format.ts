/** Go's ways of printing values, because image history records instructions as BuildKit prints them. */

/** `%q` of a string. */
export function goQuote(text: string): string {
  let out = '"';
  for (const ch of text) {
    const code = ch.codePointAt(0)!;
    const named = namedEscapes[ch];
    if (named) out += named;
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, "0")}`;
    else if (printable.test(ch)) out += ch;
    else if (code < 0x10000) out += `\\u${code.toString(16).padStart(4, "0")}`;
    else out += `\\U${code.toString(16).padStart(8, "0")}`;
  }
  return `${out}"`;
}

/** `strconv.IsPrint` */
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

const namedEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

/** `%q` of a list of strings. */
export const goQuoteList = (words: readonly string[]): string => `[${words.map(goQuote).join(" ")}]`;

/** `%q` of a number, which Go takes for a character. */
export function goQuoteNumber(value: number): string {
  const isCharacter = value <= 0x10ffff && !(value >= 0xd800 && value <= 0xdfff);
  const ch = isCharacter ? String.fromCodePoint(value) : "\ufffd";
  const inner = ch === "'" ? "\\'" : ch === '"' ? '"' : goQuote(ch).slice(1, -1);
  return `'${inner}'`;
}

/** time.Duration's String. */
export function goDuration(milliseconds: number): string {
  if (milliseconds === 0) return "0s";
  if (milliseconds < 1000)
    return milliseconds < 1 ? `${milliseconds * 1000}µs` : `${Number(milliseconds.toFixed(6))}ms`;
  const seconds = milliseconds / 1000;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = `${Number((seconds % 60).toFixed(9))}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}

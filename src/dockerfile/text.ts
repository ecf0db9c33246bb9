/**
 * White space and line splitting as the reference (a Go program) understands them. JavaScript's own `trim` and `\s` differ in a few
 * characters (U+0085 is a blank in Go, U+FEFF is not), so nothing in this room uses them on a Dockerfile's text.
 */

const spaces = "\\t\\n\\v\\f\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const oneSpace = new RegExp(`^[${spaces}]$`);
const leading = new RegExp(`^[${spaces}]+`);

/** Go's `unicode.IsSpace` for one character. */
export const isSpace = (ch: string): boolean => oneSpace.test(ch);
export const trimStart = (text: string): string => text.replace(leading, "");
/** Go's `strings.TrimSpace`. */
export const trimSpace = (text: string): string => trimEnd(trimStart(text));

function trimEnd(text: string): string {
  // By hand: a regular expression anchored at the end is quadratic on long runs of blanks elsewhere.
  let end = text.length;
  while (end > 0 && isSpace(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** Words between runs of blanks; none for an empty text. */
export function splitWhitespace(text: string): string[] {
  return text === "" ? [] : text.split(/[\t\v\f\r ]+/);
}

/** The text before and after the first run of blanks; the second part is undefined when there is no blank. */
export function cutWhitespace(text: string): [head: string, rest: string | undefined] {
  const blank = /[\t\v\f\r ]+/.exec(text);
  return blank ? [text.slice(0, blank.index), text.slice(blank.index + blank[0].length)] : [text, undefined];
}

/** The text before and after the first `separator`; the second part is undefined when there is none. */
export function cut(text: string, separator: string): [head: string, rest: string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** Lines with their line ends. A last line without one is kept as it is; an empty text has no line. */
export function linesWithEnds(text: string): string[] {
  const lines = text.split("\n");
  const last = lines.pop()!;
  return last === "" ? lines.map((line) => `${line}\n`) : [...lines.map((line) => `${line}\n`), last];
}

export const trimLineEnd = (line: string): string => line.replace(/[\r\n]+$/, "");

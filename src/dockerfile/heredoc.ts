/** Here-documents: `<<NAME`, `<<-NAME`, `3<<NAME`, `<<"NAME"`. */
import { Fault } from "./errors.js";
import { lexWords } from "./shell-lexer.js";

export interface HeredocMark {
  readonly name: string;
  /** `<<-`: leading tabs of body and terminator are removed. */
  readonly chomp: boolean;
  /** The name was not quoted. */
  readonly expand: boolean;
  readonly fileDescriptor: number;
}

const nothing = (): undefined => undefined;

/** The mark that a raw word is, or undefined when it is none (`<<<`, `<<` alone, several words). */
export function heredocMark(word: string): HeredocMark | undefined {
  const match = /^(\d*)<<(-?)\s*([^<]*)$/.exec(word);
  if (!match) return undefined;
  const rest = match[3]!;
  const plain = lexWords(rest, nothing, { keepUnset: true });
  const raw = lexWords(rest, nothing, { keepUnset: true, rawQuotes: true });
  if (plain.length !== 1 || raw.length !== 1) return undefined;
  // An escaped quote is in both and an escape in neither: only quotes that quote make the body literal.
  const expand = plain[0] === raw[0];
  return { name: plain[0]!, chomp: match[2] === "-", expand, fileDescriptor: Number(match[1]) };
}

/** All marks on an instruction's line, in order. A line whose quotes don't balance has none. */
export function heredocMarks(line: string): HeredocMark[] {
  let words: string[];
  try {
    words = lexWords(line, nothing, { keepUnset: true, rawQuotes: true, rawEscapes: true });
  } catch (error) {
    if (error instanceof Fault) return [];
    throw error;
  }
  return words.flatMap((word) => heredocMark(word) ?? []);
}

/** A body without the tabs at its lines' beginnings. */
export const withoutTabs = (body: string): string => body.replace(/(^|\n)\t+/g, "$1");

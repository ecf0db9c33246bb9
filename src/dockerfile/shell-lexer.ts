/**
 * The word lexer: variables, quotes and escapes as the reference expands them (documented as "Environment replacement"). It is
 * a small subset of a POSIX shell with rules of its own: no field splitting of quotes, no command substitution, and inside
 * `${x#...}` and `${x/.../...}` escapes stay for the pattern to interpret.
 */
import { Fault } from "./errors.js";
import { removePrefix, removeSuffix, replacePattern } from "./shell-pattern.js";
import { isSpace } from "./text.js";
import type { Lookup } from "./types.js";

export interface LexerOptions {
  readonly escape?: "\\" | "`";
  /** Quotes stay in the result. */
  readonly rawQuotes?: boolean;
  /** Escape characters stay in the result. */
  readonly rawEscapes?: boolean;
  /** Quotes are ordinary characters (heredoc bodies). */
  readonly literalQuotes?: boolean;
  /** A variable that is unset stays as it is written. */
  readonly keepUnset?: boolean;
  /** Told of every variable that is read, set or not. */
  readonly onVariable?: (name: string, isSet: boolean) => void;
}

/** Deeper nesting of `${a:-${b:-...}}` than this is refused rather than followed. */
const maxDepth = 200;

/** A text that variables blow up beyond this many characters is refused: `ENV A=$A$A` doubles with every line. */
const maxLength = 1 << 20;

/**
 * One word expanded to one text, quotes and escapes removed.
 * @throws Fault on unbalanced quotes or braces, unknown modifiers, and `${x:?}` of an unset variable
 */
export function lexWord(word: string, lookup: Lookup, options: LexerOptions = {}): string {
  return new Lexer(word, lookup, options).run();
}

/**
 * One text expanded and split into words at blanks that are neither quoted nor escaped (those that come from a variable's value split too).
 * @throws Fault as `lexWord`
 */
export function lexWords(text: string, lookup: Lookup, options: LexerOptions = {}): string[] {
  const words = new WordCollector();
  new Lexer(text, lookup, options).run(words);
  return words.finish();
}

class Lexer {
  private readonly chars: readonly string[];
  private readonly escape: string;
  private at = 0;
  private depth = 0;
  private expanded = 0;

  constructor(
    private readonly source: string,
    private readonly lookup: Lookup,
    private readonly options: LexerOptions,
  ) {
    // As in the reference, whose scanner takes it for the beginning of a file.
    this.chars = [...source.replace(/^\ufeff/, "")];
    this.escape = options.escape ?? "\\";
  }

  run(words?: WordCollector): string {
    return this.processUntil(undefined, this.options.rawEscapes ?? false, "", words);
  }

  private peek(): string | undefined {
    return this.chars[this.at];
  }

  private next(): string | undefined {
    return this.chars[this.at++];
  }

  private fault(message: string): Fault {
    const source = this.source.length > 200 ? `${this.source.slice(0, 200)}...` : this.source;
    return new Fault(`cannot expand ${JSON.stringify(source)}: ${message}`, {
      code: "DOCKERFILE_EXPANSION",
      at: this.source,
    });
  }

  private processUntil(stop: string | undefined, rawEscapes: boolean, missing: string, words?: WordCollector): string {
    if (++this.depth > maxDepth) throw this.fault("variables are nested too deeply");
    let text = "";
    for (let ch = this.peek(); ch !== undefined; ch = this.peek()) {
      if (ch === stop) {
        this.at++;
        this.depth--;
        return text;
      }
      if (ch === "$") {
        const value = this.bounded(this.variable());
        text += value;
        words?.addSplit(value);
      } else if (ch === "'" && !this.options.literalQuotes) {
        const value = this.singleQuoted();
        text += value;
        words?.addWhole(value);
      } else if (ch === '"' && !this.options.literalQuotes) {
        const value = this.doubleQuoted(rawEscapes);
        text += value;
        words?.addWhole(value);
      } else if (ch === "<" && this.chars[this.at + 1] === "<") {
        // The name of a here-document may stand apart from its mark.
        let mark = "";
        do mark += this.next();
        while (mark === "<" || isSpace(this.peek() ?? ""));
        text += mark;
        words?.addWhole(mark);
      } else if (ch === this.escape) {
        this.at++;
        if (rawEscapes) {
          text += ch;
          words?.addWhole(ch);
        }
        const escaped = this.next();
        if (escaped === undefined) break;
        text += escaped;
        words?.addWhole(escaped);
      } else {
        this.at++;
        text += ch;
        words?.addSplit(ch);
      }
    }
    if (stop !== undefined) throw this.fault(missing);
    this.depth--;
    return text;
  }

  private singleQuoted(): string {
    const end = this.chars.indexOf("'", this.at + 1);
    if (end < 0) throw this.fault("unexpected end while looking for matching single-quote");
    const inner = this.chars.slice(this.at + 1, end).join("");
    this.at = end + 1;
    return this.options.rawQuotes ? `'${inner}'` : inner;
  }

  private doubleQuoted(rawEscapes: boolean): string {
    this.at++;
    let text = this.options.rawQuotes ? '"' : "";
    for (;;) {
      const ch = this.peek();
      if (ch === undefined) throw this.fault("unexpected end while looking for matching double-quote");
      if (ch === "$") {
        text += this.bounded(this.variable());
        continue;
      }
      this.at++;
      if (ch === '"') return this.options.rawQuotes ? `${text}"` : text;
      if (ch !== this.escape) {
        text += ch;
        continue;
      }
      const escaped = this.peek();
      if (rawEscapes) text += ch;
      if (escaped === '"' || escaped === "$" || escaped === this.escape) text += this.next();
      else if (escaped !== undefined) text += ch;
    }
  }

  private bounded(value: string): string {
    this.expanded += value.length;
    if (this.expanded > maxLength) throw this.fault("the result is larger than 1 MiB");
    return value;
  }

  /** `$name`, `${name}` and `${name<modifier>...}`; stands on the dollar. */
  private variable(): string {
    this.at++;
    if (this.peek() !== "{") {
      const name = this.name();
      if (name === "") return "$";
      return this.valueOf(name) ?? (this.options.keepUnset ? `$${name}` : "");
    }
    this.at++;
    const first = this.peek();
    if (first === undefined) throw this.fault("missing '}'");
    if (first === "{" || first === "}" || first === ":") throw this.fault("bad substitution");
    const name = this.name();
    let modifier = this.next() ?? "";
    if (modifier === "}") return this.valueOf(name) ?? (this.options.keepUnset ? `\${${name}}` : "");
    if (modifier === "/") return this.replaced(name);
    const emptyIsUnset = modifier === ":";
    if (emptyIsUnset) modifier = this.next() ?? "";
    const shown = emptyIsUnset ? `:${modifier}` : modifier;
    const isPattern = modifier === "#" || modifier === "%";
    if (!(emptyIsUnset ? /^[-+?]$/ : /^[-+?#%]$/).test(modifier)) {
      throw this.fault(`unsupported modifier (${shown}) in substitution`);
    }
    const word = this.processUntil("}", isPattern, "missing '}'");
    const value = this.valueOf(name);
    if (value === undefined && this.options.keepUnset) return `\${${name}${shown}${word}}`;
    const present = value !== undefined && !(emptyIsUnset && value === "");
    switch (modifier) {
      case "-":
        return present ? value : word;
      case "+":
        return present ? word : "";
      case "?":
        if (present) return value;
        throw this.fault(`${name}: ${word || `is not allowed to be ${value === undefined ? "unset" : "empty"}`}`);
      default: {
        const greedy = word.startsWith(modifier);
        const remove = modifier === "#" ? removePrefix : removeSuffix;
        return remove(value ?? "", greedy ? word.slice(1) : word, greedy);
      }
    }
  }

  /** `${name/pattern/replacement}` and `//`; stands behind the first slash. */
  private replaced(name: string): string {
    const all = this.peek() === "/";
    if (all) this.at++;
    const pattern = this.processUntil("/", true, "missing '/' in ${}");
    const replacement = this.processUntil("}", true, "missing '}'");
    const value = this.valueOf(name);
    if (value === undefined && this.options.keepUnset) return `\${${name}/${pattern}/${replacement}}`;
    return replacePattern(value ?? "", pattern, replacement, all);
  }

  /** Letters, digits and underscores; or digits alone; or one of the shell's special parameters. */
  private name(): string {
    const first = this.peek();
    if (first === undefined) return "";
    if (/^[@*#?\-$!]$/.test(first)) {
      this.at++;
      return first;
    }
    const allowed = /\p{Nd}/u.test(first) ? /^\p{Nd}$/u : /^[\p{L}\p{Nd}_]$/u;
    const start = this.at;
    while (this.at < this.chars.length && allowed.test(this.chars[this.at]!)) this.at++;
    return this.chars.slice(start, this.at).join("");
  }

  private valueOf(name: string): string | undefined {
    const value = this.lookup(name);
    this.options.onVariable?.(name, value !== undefined);
    return value;
  }
}

/** Words between blanks; quoted text never splits and never makes a word of its own when it is empty. */
class WordCollector {
  private word = "";
  private inWord = false;
  private readonly words: string[] = [];

  addSplit(text: string): void {
    for (const ch of text) {
      if (!isSpace(ch)) this.addWhole(ch);
      else if (this.inWord && this.word !== "") this.push();
    }
  }

  addWhole(text: string): void {
    this.word += text;
    this.inWord = true;
  }

  finish(): string[] {
    if (this.word !== "") this.push();
    return this.words;
  }

  private push(): void {
    this.words.push(this.word);
    this.word = "";
    this.inWord = false;
  }
}

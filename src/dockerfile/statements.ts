/**
 * Text to statements: parser directives, comments, continuation lines, flags and here-documents. What an instruction's arguments mean is
 * not known here.
 */
import { Fault, faultAt, located } from "./errors.js";
import { extractFlags } from "./flags.js";
import { heredocMarks, withoutTabs } from "./heredoc.js";
import { parseCheckOptions } from "./lint/options.js";
import { cutWhitespace, linesWithEnds, trimLineEnd, trimSpace, trimStart } from "./text.js";
import type { Dialect, Directives, EscapeCharacter, Heredoc, LintWarning, SourceFile, SourceRange } from "./types.js";
import { parseJsonForm } from "./words.js";

/** One instruction, its arguments not interpreted. */
export interface Statement {
  /** As written. */
  readonly name: string;
  /** Upper-cased. */
  readonly kind: string;
  readonly flags: readonly string[];
  /** What follows the flags, without surrounding blanks. */
  readonly rest: string;
  /** Continuation lines joined. */
  readonly source: string;
  readonly range: SourceRange;
  readonly heredocs: readonly Heredoc[];
  /** Comment lines right above, without `#`. */
  readonly comments: readonly string[];
  readonly escape: EscapeCharacter;
}

export interface Statements {
  readonly file: SourceFile;
  readonly escape: EscapeCharacter;
  readonly directives: Directives;
  readonly statements: readonly Statement[];
  readonly warnings: readonly LintWarning[];
}

/** Continuation: an escape character at the end of a line, blanks after it allowed, unless that escape is itself escaped. */
const continuation: Readonly<Record<EscapeCharacter, RegExp>> = {
  "\\": /(?:^|(?<=[^\\]))\\[ \t]*$/,
  "`": /(?:^|(?<=[^`]))`[ \t]*$/,
};

const heredocKinds = new Set(["RUN", "COPY", "ADD"]);

/**
 * Splits a file into statements.
 * @throws AegisError DOCKERFILE_SYNTAX, DOCKERFILE_EMPTY
 */
export function readStatements(text: string, name: string, dialect: Dialect): Statements {
  const lines = linesWithEnds(text.replace(/^\ufeff/, ""));
  const file: SourceFile = { name, lines: lines.map(trimLineEnd) };
  const { directives, lines: directiveLines, escape: escapeCharacter } = readDirectives(file);
  const statements: Statement[] = [];
  const warnings: LintWarning[] = [];
  let comments: string[] = [];
  for (let at = 0; at < lines.length; ) {
    const first = trimStart(file.lines[at]!);
    const startLine = at + 1;
    at++;
    if (first.startsWith("#")) {
      if (startLine <= directiveLines) continue;
      const comment = trimSpace(first.slice(1));
      comments = comment === "" ? [] : [...comments, comment];
      continue;
    }
    const logical = joinContinuations(file, first, at, escapeCharacter);
    at = logical.next;
    if (logical.text === "" && logical.next === startLine) continue;
    const column = file.lines[startLine - 1]!.length - first.length + 1;
    const range = { startLine, endLine: at, column };
    try {
      const head = splitStatement(logical.text, escapeCharacter);
      const bodies = readHeredocs(head, logical.text, lines, at, dialect);
      at = bodies.next;
      if (logical.hasEmptyLine) {
        const message = "Empty continuation line";
        warnings.push({ rule: "NoEmptyContinuation", message, range: { ...range, startLine: at, endLine: at } });
      }
      statements.push({ ...head, range: { ...range, endLine: at }, heredocs: bodies.heredocs, comments });
    } catch (error) {
      throw error instanceof Fault ? faultAt(file, range, error) : error;
    }
    comments = [];
  }
  if (statements.length === 0) {
    throw faultAt(file, { startLine: 1, endLine: 1 }, new Fault("there are no instructions in it", emptyFile));
  }
  return { file, escape: escapeCharacter, directives, statements, warnings };
}

const emptyFile = { code: "DOCKERFILE_EMPTY", hint: "start it with FROM and the image to build on" };

/** Name, flags and arguments of one logical line. */
export function splitStatement(
  source: string,
  escapeCharacter: EscapeCharacter,
): Omit<Statement, "range" | "heredocs" | "comments"> {
  const [name, tail] = cutWhitespace(trimSpace(source));
  const { flags, rest } = extractFlags(tail ?? "", escapeCharacter);
  return { name, kind: name.toUpperCase(), flags, rest: trimSpace(rest), source, escape: escapeCharacter };
}

/**
 * Directives stand in `# name=value` comments before anything else; the first line that is none ends them.
 */
function readDirectives(file: SourceFile): {
  readonly directives: Directives;
  /** How many lines they take. */
  readonly lines: number;
  readonly escape: EscapeCharacter;
} {
  let lines = 0;
  const found: { syntax?: string; escape?: string; check?: string } = {};
  for (const [index, line] of file.lines.entries()) {
    const text = trimStart(line);
    const match = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/.exec(text);
    const key = match?.[1]?.toLowerCase();
    if (!match || (key !== "syntax" && key !== "escape" && key !== "check")) break;
    const range = { startLine: index + 1, endLine: index + 1 };
    if (found[key] !== undefined) {
      throw faultAt(file, range, new Fault(`only one ${key} parser directive can be used`, { at: text }));
    }
    found[key] = match[2]!;
    lines = index + 1;
    if (key === "check") located(file, range, () => parseCheckOptions(match[2]));
    if (key === "escape" && match[2] !== "`" && match[2] !== "\\") {
      const message = `invalid escape character '${match[2]}'`;
      throw faultAt(file, range, new Fault(message, { hint: "it is either ` or \\", at: match[2]! }));
    }
  }
  return { directives: found, lines, escape: found.escape === "`" ? "`" : "\\" };
}

function joinContinuations(
  file: SourceFile,
  first: string,
  start: number,
  escapeCharacter: EscapeCharacter,
): { readonly text: string; readonly next: number; readonly hasEmptyLine: boolean } {
  const pattern = continuation[escapeCharacter];
  let next = start;
  let hasEmptyLine = false;
  let line = first;
  const parts: string[] = [];
  while (pattern.test(line)) {
    parts.push(line.replace(pattern, ""));
    line = "";
    while (next < file.lines.length) {
      const candidate = file.lines[next++]!;
      const visible = trimStart(candidate);
      if (visible === "") hasEmptyLine = true;
      else if (!visible.startsWith("#")) {
        line = candidate;
        break;
      }
    }
  }
  parts.push(line);
  return { text: parts.join(""), next, hasEmptyLine };
}

/** Bodies of the here-documents that `source` opens, taken from the lines at `start`. */
function readHeredocs(
  head: Pick<Statement, "kind" | "rest" | "escape">,
  source: string,
  lines: readonly string[],
  start: number,
  dialect: Dialect,
): { readonly heredocs: readonly Heredoc[]; readonly next: number } {
  if (!source.includes("<<") || !canHaveHeredocs(head, dialect)) return { heredocs: [], next: start };
  let next = start;
  const heredocs = heredocMarks(source).map((mark): Heredoc => {
    const body: string[] = [];
    for (;;) {
      const line = lines[next++];
      if (line === undefined) {
        throw new Fault(`the here-document ${mark.name} is not ended`, {
          hint: `end it with a line that says only ${mark.name}`,
          at: `<<${mark.chomp ? "-" : ""}`,
        });
      }
      const candidate = trimLineEnd(line);
      if ((mark.chomp ? candidate.replace(/^\t+/, "") : candidate) === mark.name) break;
      body.push(line);
    }
    const raw = body.join("");
    const content = mark.chomp ? withoutTabs(raw) : raw;
    return { name: mark.name, content, raw, expand: mark.expand, fileDescriptor: mark.fileDescriptor };
  });
  return { heredocs, next };
}

function canHaveHeredocs(head: Pick<Statement, "kind" | "rest" | "escape">, dialect: Dialect): boolean {
  if (head.kind === "ONBUILD") {
    const inner = splitStatement(head.rest, head.escape);
    return inner.kind !== "ONBUILD" && canHaveHeredocs(inner, "dockerfile");
  }
  if (dialect === "aegisfile" && head.kind === "RENDER") return true;
  return heredocKinds.has(head.kind) && !Array.isArray(parseJsonForm(head.rest));
}

/**
 * Faults in a Dockerfile, told with file, line, column, the lines around and a suggestion. The small parsers of this room throw
 * `Fault`s, which know only what is wrong; the reader knows where and makes the coded error of it.
 */
import { AegisError } from "../support/errors.js";
import type { SourceFile, SourceRange } from "./types.js";

export interface FaultOptions {
  /** `DOCKERFILE_SYNTAX` unless told. */
  readonly code?: string;
  readonly hint?: string | undefined;
  /** The faulty piece of text: its first occurrence in the instruction gives line and column. */
  readonly at?: string | undefined;
}

/** Something wrong within one instruction, its place in the file not yet known. */
export class Fault extends AegisError {
  readonly at: string | undefined;

  constructor(message: string, options: FaultOptions = {}) {
    super(options.code ?? "DOCKERFILE_SYNTAX", message, options.hint === undefined ? {} : { hint: options.hint });
    this.at = options.at;
  }
}

/** Runs `body`; a `Fault` in it becomes an `AegisError` at `range` of `file`. */
export function located<T>(file: SourceFile | undefined, range: SourceRange, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof Fault) throw faultAt(file, range, error);
    throw error;
  }
}

/** The coded error for a fault of the instruction at `range`. */
export function faultAt(file: SourceFile | undefined, range: SourceRange, fault: Fault): AegisError {
  const place = placeOf(file, range, fault.at);
  const name = file?.name ?? "Dockerfile";
  return new AegisError(fault.code, `${name}:${place.line}:${place.column}: ${fault.message}`, {
    ...(fault.hint === undefined ? {} : { hint: fault.hint }),
    ...(file === undefined
      ? {}
      : { context: excerpt(file, { ...range, startLine: place.line, endLine: place.line }, place.column) }),
    details: { file: name, line: place.line, column: place.column, endLine: range.endLine },
  });
}

function placeOf(
  file: SourceFile | undefined,
  range: SourceRange,
  fragment: string | undefined,
): { readonly line: number; readonly column: number } {
  if (file !== undefined && fragment !== undefined && fragment !== "") {
    for (let line = range.startLine; line <= range.endLine; line++) {
      const at = file.lines[line - 1]?.indexOf(fragment) ?? -1;
      if (at >= 0) return { line, column: at + 1 };
    }
  }
  return { line: range.startLine, column: range.column ?? 1 };
}

/**
 * The lines of `range` with two lines around it, numbered and marked, as error messages show them; `column` adds a caret line
 * under the first one.
 */
export function excerpt(file: SourceFile, range: SourceRange, column?: number): string {
  const around = 2;
  const first = Math.max(1, range.startLine - around);
  const last = Math.min(file.lines.length, range.endLine + around);
  const width = String(last).length;
  const shown: string[] = [];
  for (let line = first; line <= last; line++) {
    const marked = line >= range.startLine && line <= range.endLine;
    const text = (file.lines[line - 1] ?? "").slice(0, 200);
    shown.push(`${marked ? ">" : " "} ${String(line).padStart(width)} | ${text}`.trimEnd());
    if (column !== undefined && line === range.startLine) {
      // Tabs are kept, so that the caret stands under its character.
      const indent = text.slice(0, column - 1).replace(/[^\t]/g, " ");
      shown.push(`  ${" ".repeat(width)} | ${indent}^`);
    }
  }
  return shown.join("\n");
}

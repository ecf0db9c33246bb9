/** What the readers of single instructions share: argument checks, commands, and the context they report warnings to. */
import { Fault } from "../errors.js";
import type { Statement } from "../statements.js";
import type { Command } from "../types.js";
import { parseJsonForm } from "../words.js";

/** Collects lint warnings found while reading. */
export interface ReadContext {
  warn(rule: string, message: string, statement: Statement): void;
}

/** The arguments as one text. @throws Fault when there are none */
export function exactlyOne(statement: Statement): string {
  if (statement.rest === "") throw new Fault(`${statement.kind} requires exactly one argument`, { at: statement.name });
  return statement.rest;
}

/** @throws Fault when there are no arguments */
export function atLeastOne(statement: Statement): void {
  if (statement.rest === "")
    throw new Fault(`${statement.kind} requires at least one argument`, { at: statement.name });
}

/** JSON form, or undefined for the shell form. @throws Fault for an array with anything but strings */
export function jsonForm(text: string): readonly string[] | undefined {
  const members = parseJsonForm(text);
  if (members === "not-strings") {
    throw new Fault("an array of arguments may only have strings in it", {
      hint: "put double quotes around each",
      at: text,
    });
  }
  return members;
}

export function commandOf(text: string): Command {
  const argv = jsonForm(text);
  return argv === undefined ? { form: "shell", text } : { form: "exec", argv };
}

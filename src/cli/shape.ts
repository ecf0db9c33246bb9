/**
 * What a command declares, read from its class: the options and positionals that argv and help are about. What was typed goes
 * straight to the declarations: the library's own parser would build an automaton for every option first, which costs a tenth
 * of a short command's time.
 */
import { type BaseContext, Command, type CommandClass } from "clipanion";
import type { NormalisedArgv } from "./argv.js";

export interface DeclaredOption {
  /** As declared: `["-p", "--publish"]`. */
  readonly names: readonly string[];
  readonly takesValue: boolean;
  readonly description: string | undefined;
  readonly hidden: boolean;
  /** May be given more than once and keeps every value. */
  readonly many: boolean;
}

export interface CommandShape {
  readonly options: readonly DeclaredOption[];
  /** Names of the positionals that must be there. */
  readonly required: readonly string[];
  readonly optional: readonly string[];
  /** Name of the rest, when any number may follow. */
  readonly rest: string | undefined;
  /** Everything from the first positional on belongs to somebody else: `run IMAGE command...`, `exec NAME command...`. */
  readonly passThrough: boolean;
}

/** The part of clipanion's builder that an option's `definition` calls. */
interface DefinitionSink {
  addOption(o: { names: string[]; arity?: number; hidden?: boolean; description?: string }): void;
  addPositional(p: { name?: string; required?: boolean }): void;
  addRest(r: { name?: string; required?: number }): void;
  addProxy(r: { name?: string; required?: number }): void;
}

export function shapeOf(commandClass: CommandClass<BaseContext>): CommandShape {
  const options: DeclaredOption[] = [];
  const required: string[] = [];
  const optional: string[] = [];
  let rest: string | undefined;
  const sink: DefinitionSink = {
    addOption: ({ names, arity = 0, hidden = false, description }) => {
      options.push({
        names,
        takesValue: arity > 0,
        hidden,
        description,
        many: /\(repeatable\)/.test(description ?? ""),
      });
    },
    addPositional: ({ name = "argument", required: must = true }) => (must ? required : optional).push(name),
    addRest: ({ name = "arguments", required: least = 0 }) => {
      for (let i = 0; i < least; i++) required.push(name);
      rest = name;
    },
    addProxy: ({ name = "arguments", required: least = 0 }) => sink.addRest({ name, required: least }),
  };
  for (const [key, value] of declarations(new commandClass())) value.definition(sink, key);
  const passThrough = "passThrough" in commandClass && commandClass.passThrough === true;
  return { options, required, optional, rest, passThrough };
}

/** The command with the values that were given. Options and the number of positionals have been checked. */
export function commandWith(
  commandClass: CommandClass<BaseContext>,
  { options, positionals, shape }: Pick<NormalisedArgv, "options" | "positionals"> & { readonly shape: CommandShape },
  context: BaseContext,
): Command<BaseContext> {
  const command = new commandClass();
  command.context = context;
  const given: Given = {
    options,
    positionals: positionals.map((value, i) => ({
      value,
      extra: i >= shape.required.length && shape.rest === undefined,
    })),
  };
  for (const [key, value] of declarations(command)) {
    Object.assign(command, { [key]: value.transformer(takesTheRest, key, given, context) });
  }
  return command;
}

/** What was given, as the library's options read it; positionals are taken out one by one. */
interface Given {
  readonly options: readonly { readonly name: string; readonly value: string | boolean }[];
  /** `extra`: it is of the optional ones. */
  readonly positionals: { readonly value: string; readonly extra: boolean }[];
}

/** A rest takes what the positionals before it left. */
const takesTheRest = { arity: { leading: { length: Number.POSITIVE_INFINITY } } };

interface Declaration {
  readonly definition: (sink: DefinitionSink, key: string) => void;
  readonly transformer: (builder: typeof takesTheRest, key: string, given: Given, context: BaseContext) => unknown;
}

const declarations = (command: Command<BaseContext>): readonly (readonly [key: string, Declaration])[] =>
  Object.entries(command).filter((entry): entry is [string, Declaration] => isOption(entry[1]));

const isOption = (value: unknown): boolean => typeof value === "object" && value !== null && Command.isOption in value;

/** What a command declares, read from its class: the options and positionals that argv and help are about. */
import { type BaseContext, Command, type CommandClass } from "clipanion";

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
  const command = new commandClass() as unknown as Record<string, unknown>;
  for (const [key, value] of Object.entries(command)) {
    if (isOption(value)) value.definition(sink, key);
  }
  const passThrough = "passThrough" in commandClass && commandClass.passThrough === true;
  return { options, required, optional, rest, passThrough };
}

function isOption(value: unknown): value is { definition: (sink: DefinitionSink, key: string) => void } {
  return typeof value === "object" && value !== null && Command.isOption in value;
}

/**
 * From what people type to options with their values, and positionals. Understands Docker's habits (pflag's rules):
 * `-p8080:80`, `-eX=1`, `-it`, `-dp 80`, `--pull=false`, `-e -1`, options after positionals; for `run` and `exec` everything
 * from the image or instance on is left alone.
 */
import { parseBoolean } from "../support/booleans.js";
import { AegisError } from "../support/errors.js";
import type { CommandShape, DeclaredOption } from "./shape.js";
import { nearest } from "./suggest.js";

export interface NormalisedArgv {
  readonly options: readonly GivenOption[];
  readonly positionals: readonly string[];
  /** `--help`, or `-h` where the command has no `-h` of its own. */
  readonly help: boolean;
}

export interface GivenOption {
  /** The longest of the option's names. */
  readonly name: string;
  /** A switch is on or off. */
  readonly value: string | boolean;
}

/** @throws AegisError USAGE for an unknown option, a missing value or a value where none goes */
export function normaliseArgv(words: readonly string[], shape: CommandShape, name: string): NormalisedArgv {
  const byName = new Map(shape.options.flatMap((option) => option.names.map((n) => [n, option] as const)));
  const options: GivenOption[] = [];
  const positionals: string[] = [];
  let help = false;

  const give = (option: DeclaredOption, value: string | boolean) => {
    options.push({ name: option.names.reduce((a, b) => (b.length > a.length ? b : a)), value });
  };
  const unknown = (typed: string): never => {
    const close = nearest(
      typed,
      [...byName].filter(([, o]) => !o.hidden).map(([n]) => n),
    );
    throw usageError(`unknown option ${typed}`, name, close && `did you mean ${close}?`);
  };
  const truth = (typed: string, text: string): boolean => {
    const value = parseBoolean(text.toLowerCase());
    if (value === undefined) throw usageError(`${typed} is a switch: true or false, not "${text}"`, name);
    return value;
  };

  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const next = (typed: string): string => {
      const value = words[++i];
      if (value === undefined) throw usageError(`${typed} needs a value`, name);
      return value;
    };
    if (word === "--") {
      positionals.push(...words.slice(i + 1));
      break;
    }
    if (word === "-" || !word.startsWith("-")) {
      if (shape.passThrough) {
        positionals.push(...words.slice(i));
        break;
      }
      positionals.push(word);
    } else if (word === "--help" || (word === "-h" && !byName.has("-h"))) {
      help = true;
    } else if (word.startsWith("--")) {
      const equals = word.indexOf("=");
      const typed = equals < 0 ? word : word.slice(0, equals);
      const value = equals < 0 ? undefined : word.slice(equals + 1);
      const option = byName.get(typed);
      if (option?.takesValue) give(option, value ?? next(typed));
      else if (option) give(option, value === undefined || truth(typed, value));
      else {
        const positive = byName.get(typed.replace(/^--no-/, "--"));
        if (!positive || positive.takesValue || value !== undefined) return unknown(typed);
        give(positive, false);
      }
    } else {
      for (let at = 1; at < word.length; at++) {
        const typed = `-${word[at]}`;
        const option = byName.get(typed);
        if (!option) return unknown(word.length > 2 ? `${typed} in ${word}` : typed);
        const tail = word.slice(at + 1);
        if (option.takesValue) {
          give(option, tail === "" ? next(typed) : tail.replace(/^=/, ""));
          break;
        }
        if (tail.startsWith("=")) {
          give(option, truth(typed, tail.slice(1)));
          break;
        }
        give(option, true);
      }
    }
  }
  return { options, positionals, help };
}

/** @throws AegisError USAGE when there are too few or too many positionals */
export function checkPositionals(positionals: readonly string[], shape: CommandShape, name: string): void {
  if (positionals.length < shape.required.length) {
    const missing = [...new Set(shape.required.slice(positionals.length))].map((n) => n.toUpperCase());
    throw usageError(`"aegis ${name}" needs ${missing.join(" and ")}`, name);
  }
  const most = shape.required.length + shape.optional.length;
  if (shape.rest === undefined && positionals.length > most) {
    const takes = most === 0 ? "no arguments" : most === 1 ? "one argument" : `${most} arguments`;
    throw usageError(`"aegis ${name}" takes ${takes}: "${positionals[most]}" is one too many`, name);
  }
}

export function usageError(message: string, name: string, hint?: string): AegisError {
  const help = `see "aegis ${name ? `${name} ` : ""}--help"`;
  return new AegisError("USAGE", message, { hint: hint ? `${hint} (${help})` : help });
}

/** Instructions that only change the image's configuration. */
import { parseDuration } from "../../support/durations.js";
import { AegisError } from "../../support/errors.js";
import { Fault } from "../errors.js";
import { type Flags, readFlags } from "../flags.js";
import type { Statement } from "../statements.js";
import { cut, cutWhitespace, isSpace, splitWhitespace, trimSpace, trimStart } from "../text.js";
import type { ArgDefinition, HealthcheckSpec, KeyValue } from "../types.js";
import { splitQuotedWords } from "../words.js";
import { atLeastOne, commandOf, exactlyOne, jsonForm, type ReadContext } from "./reader.js";

const noFlags = (statement: Statement): Flags => readFlags(statement.flags, {}, statement.kind);

/** Pairs of ENV and LABEL: `k=v k2=v2`, or the old form `k the rest of the line`. */
export function readPairs(statement: Statement, context: ReadContext): readonly KeyValue[] {
  noFlags(statement);
  const { rest, kind } = statement;
  const words = splitQuotedWords(rest, statement.escape);
  const [firstWord] = words;
  if (firstWord === undefined) throw new Fault(`${kind} requires at least one argument`, { at: statement.name });
  if (!firstWord.includes("=")) {
    const [key, value] = cutWhitespace(rest);
    if (value === undefined)
      throw new Fault(`${kind} must have two arguments`, { hint: `write ${kind} ${key}=VALUE`, at: key });
    context.warn(
      "LegacyKeyValueFormat",
      `"${kind} key=value" should be used instead of legacy "${kind} key value" format`,
      statement,
    );
    return [{ key, value }];
  }
  return words.map((word) => {
    const [key, value] = cut(word, "=");
    if (value === undefined) {
      throw new Fault(`"${word}" has no "="`, {
        hint: `write ${kind} name=value pairs; a value with blanks needs quotes`,
        at: word,
      });
    }
    if (key === "") throw new Fault(`${kind} names can not be blank`, { at: word });
    return { key, value };
  });
}

export function readArg(statement: Statement, context: ReadContext): readonly ArgDefinition[] {
  noFlags(statement);
  atLeastOne(statement);
  const words = splitQuotedWords(statement.rest, statement.escape);
  checkDescription(
    words.map((word) => cut(word, "=")[0]),
    statement,
    context,
  );
  return words.map((word) => {
    const [name, value] = cut(word, "=");
    if (name === "") throw new Fault("ARG names can not be blank", { at: word });
    const description = descriptionOf(statement.comments, name);
    return { name, ...(value === undefined ? {} : { value }), ...(description === undefined ? {} : { description }) };
  });
}

/** What a comment line `# name description` right above says about `name`. */
export function descriptionOf(comments: readonly string[], name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  return comments.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1);
}

/** The comment line right above a definition, if there is one, should describe it. */
export function checkDescription(names: readonly string[], statement: Statement, context: ReadContext): void {
  const comment = statement.comments.at(-1);
  if (comment === undefined || names.includes(comment.split(" ", 1)[0]!)) return;
  const name = names.length === 1 ? names[0] : "<arg_key>";
  const message = `Comment for ${statement.kind} should follow the format: \`# ${name} <description>\``;
  context.warn("InvalidDefinitionDescription", message, statement);
}

export function readPorts(statement: Statement): readonly string[] {
  atLeastOne(statement);
  noFlags(statement);
  // Sorted as they are written, which the order in an image's history shows.
  return splitWhitespace(statement.rest).sort(byBytes);
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

export function readVolumes(statement: Statement): readonly string[] {
  atLeastOne(statement);
  noFlags(statement);
  const paths = (jsonForm(statement.rest) ?? splitWhitespace(statement.rest)).map(trimSpace);
  if (paths.length === 0) throw new Fault("VOLUME requires at least one argument", { at: statement.name });
  if (paths.includes("")) throw new Fault("VOLUME specified can not be an empty string", { at: statement.rest });
  return paths;
}

/** USER, WORKDIR, STOPSIGNAL, MAINTAINER: the rest of the line is the value. */
export function readText(statement: Statement): string {
  const text = exactlyOne(statement);
  noFlags(statement);
  return text;
}

export function readShell(statement: Statement): readonly string[] {
  noFlags(statement);
  const argv = jsonForm(statement.rest);
  if (argv === undefined && statement.rest !== "") {
    throw new Fault("SHELL requires the arguments to be in JSON form", {
      hint: `write SHELL ${JSON.stringify(splitWhitespace(statement.rest))}`,
      at: statement.rest,
    });
  }
  if (argv === undefined || argv.length === 0) {
    throw new Fault("SHELL requires at least one argument", { at: statement.name });
  }
  return argv;
}

const healthFlags = {
  interval: "text",
  timeout: "text",
  "start-period": "text",
  "start-interval": "text",
  retries: "text",
} as const;

export function readHealthcheck(statement: Statement): HealthcheckSpec {
  atLeastOne(statement);
  const end = [...statement.rest].findIndex(isSpace);
  const type = end < 0 ? statement.rest : statement.rest.slice(0, end);
  const text = end < 0 ? "" : trimStart(statement.rest.slice(end));
  if (type.toUpperCase() === "NONE") {
    if (text !== "") throw new Fault("HEALTHCHECK NONE takes no arguments", { at: text });
    return { none: true };
  }
  const flags = readFlags(statement.flags, healthFlags, "HEALTHCHECK");
  if (type.toUpperCase() !== "CMD") {
    throw new Fault(`unknown type "${type}" in HEALTHCHECK`, {
      hint: "write HEALTHCHECK [flags] CMD command, or HEALTHCHECK NONE",
      at: type,
    });
  }
  const command = commandOf(text);
  if (text === "" || (command.form === "exec" && command.argv.length === 0)) {
    throw new Fault("missing command after HEALTHCHECK CMD", { at: type });
  }
  const retries = readRetries(flags.text("retries"));
  return {
    none: false,
    command,
    ...interval(flags, "interval", "interval"),
    ...interval(flags, "timeout", "timeout"),
    ...interval(flags, "start-period", "startPeriod"),
    ...interval(flags, "start-interval", "startInterval"),
    ...(retries === undefined ? {} : { retries }),
  };
}

/** What 63 bits of nanoseconds hold. */
const longestMs = 2 ** 63 / 1e6;

/** Milliseconds of a duration flag under `key`; nothing when it is absent, empty or zero. */
function interval<K extends string>(flags: Flags, flag: string, key: K): { readonly [P in K]?: number } {
  const text = flags.text(flag);
  if (text === undefined || text === "") return {};
  const ms = durationOf(text, flag);
  if (ms === 0) return {};
  if (ms < 1) {
    throw new Fault(`--${flag}=${text} is shorter than a millisecond`, { hint: "the least is 1ms", at: `--${flag}` });
  }
  return { [key]: ms } as { readonly [P in K]?: number };
}

function durationOf(text: string, flag: string): number {
  const unsigned = text.replace(/^[-+]/, "");
  try {
    const ms = parseDuration(unsigned);
    if (ms > longestMs) throw new Fault(`--${flag}=${text} is longer than 292 years`, { at: `--${flag}` });
    return ms * (text.startsWith("-") ? -1 : 1);
  } catch (error) {
    if (error instanceof Fault || !(error instanceof AegisError)) throw error;
    throw new Fault(`--${flag}: ${error.message}`, { hint: error.hint, at: `--${flag}` });
  }
}

function readRetries(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  const value = /^[-+]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= 0 && value <= 0x7fffffff)) {
    throw new Fault(`--retries=${text} is not a count`, { hint: "write a whole number, 0 or more", at: "--retries" });
  }
  return value;
}

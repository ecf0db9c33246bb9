/** COPY and ADD. */
import { Fault } from "../errors.js";
import { type Flags, type FlagTable, readFlags } from "../flags.js";
import { heredocMark, withoutTabs } from "../heredoc.js";
import type { Statement } from "../statements.js";
import { splitWhitespace } from "../text.js";
import type { Heredoc, InstructionOf } from "../types.js";
import { jsonForm } from "./reader.js";

type Body<K extends "COPY" | "ADD"> = Omit<InstructionOf<K>, "range" | "source">;

const shared = { chown: "text", chmod: "text", link: "boolean", exclude: "list" } as const;
const copyFlags: FlagTable = { from: "text", ...shared, parents: "boolean" };
const addFlags: FlagTable = { ...shared, checksum: "text", "keep-git-dir": "boolean", unpack: "boolean" };

export function readCopy(statement: Statement): Body<"COPY"> {
  const words = wordsOf(statement);
  const flags = readFlags(statement.flags, copyFlags, "COPY");
  const from = flags.text("from");
  if (from !== undefined && /\$./.test(from)) {
    throw new Fault("variables are not expanded in --from", {
      hint: "name a stage with FROM $VARIABLE AS name (ARG before the first FROM) and copy from that",
      at: "--from",
    });
  }
  return {
    kind: "COPY",
    ...sourcesAndDestination(words, statement),
    ...(from === undefined || from === "" ? {} : { from }),
    ...sharedFlags(flags),
    parents: flags.boolean("parents") ?? false,
  };
}

export function readAdd(statement: Statement): Body<"ADD"> {
  const words = wordsOf(statement);
  const flags = readFlags(statement.flags, addFlags, "ADD");
  const checksum = flags.text("checksum");
  const unpack = flags.boolean("unpack");
  return {
    kind: "ADD",
    ...sourcesAndDestination(words, statement),
    ...sharedFlags(flags),
    ...(checksum === undefined || checksum === "" ? {} : { checksum }),
    keepGitDir: flags.boolean("keep-git-dir") ?? false,
    ...(unpack === undefined ? {} : { unpack }),
  };
}

function wordsOf(statement: Statement): readonly string[] {
  const words = jsonForm(statement.rest) ?? splitWhitespace(statement.rest);
  if (words.length >= 2) return words;
  throw new Fault(
    words.length === 0
      ? `${statement.kind} requires at least two arguments`
      : `${statement.kind} requires at least two arguments, but only one was provided: the destination is missing`,
    { hint: `write ${statement.kind} SOURCE... DESTINATION`, at: statement.rest || statement.name },
  );
}

function sharedFlags(flags: Flags) {
  const chown = flags.text("chown");
  const chmod = flags.text("chmod");
  return {
    ...(chown === undefined || chown === "" ? {} : { chown }),
    ...(chmod === undefined || chmod === "" ? {} : { chmod }),
    link: flags.boolean("link") ?? false,
    exclude: flags.list("exclude"),
  };
}

function sourcesAndDestination(words: readonly string[], statement: Statement) {
  const destination = words.at(-1)!;
  if (heredocMark(destination)) {
    throw new Fault(`${statement.kind} can not write to a here-document`, {
      hint: "put the destination last",
      at: destination,
    });
  }
  // Of two bodies with one name the later is used for both, as in the reference.
  const bodies = new Map(statement.heredocs.map((heredoc) => [heredoc.name, heredoc]));
  const sources: string[] = [];
  const heredocs: Heredoc[] = [];
  for (const word of words.slice(0, -1)) {
    const mark = heredocMark(word);
    if (!mark) sources.push(word);
    else {
      const raw = bodies.get(mark.name)?.raw ?? "";
      const content = mark.chomp ? withoutTabs(raw) : raw;
      heredocs.push({ name: mark.name, content, raw, expand: mark.expand, fileDescriptor: mark.fileDescriptor });
    }
  }
  return { sources, heredocs, destination };
}

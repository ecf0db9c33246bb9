/** Instructions of an Aegisfile: what the machine should be like. Values are checked as soon as they contain no variables. */
import { parseDuration } from "../../support/durations.js";
import { AegisError } from "../../support/errors.js";
import { parseSize } from "../../support/sizes.js";
import { Fault } from "../errors.js";
import { readFlags } from "../flags.js";
import { heredocMark } from "../heredoc.js";
import type { Statement } from "../statements.js";
import { suggestion } from "../suggest.js";
import { parseTemplate } from "../template.js";
import { cut, splitWhitespace } from "../text.js";
import type { AegisInstruction } from "../types.js";
import { exactlyOne } from "./reader.js";

export const aegisKinds: readonly AegisInstruction["kind"][] = [
  "MEMORY",
  "CPUS",
  "DISK",
  "SECRET",
  "IDLE",
  "RESTART",
  "RENDER",
  "WORKSPACE",
  "ERRORLOG",
];

/** @throws Fault */
export function readAegis(kind: AegisInstruction["kind"], statement: Statement): AegisInstruction {
  if (kind === "RENDER") return readRender(statement);
  readFlags(statement.flags, {}, kind);
  const text = exactlyOne(statement);
  const words = splitWhitespace(text);
  if (kind === "SECRET") return readSecret(words);
  const most = kind === "ERRORLOG" ? 2 : 1;
  if (words.length > most)
    throw new Fault(`${kind} takes ${most === 1 ? "one argument" : "at most two arguments"}`, { at: words[most] });
  switch (kind) {
    case "MEMORY":
    case "DISK":
      return { kind, size: text };
    case "CPUS":
      return { kind, count: text };
    case "IDLE":
      return { kind, after: text };
    case "RESTART":
      return { kind, policy: text };
    case "WORKSPACE":
      return { kind, path: text };
    case "ERRORLOG":
      return { kind, glob: words[0]!, ...(words[1] === undefined ? {} : { field: words[1] }) };
  }
}

function readSecret(words: readonly string[]): AegisInstruction {
  const [name, ...options] = words;
  let env: string | undefined;
  let target: string | undefined;
  let required: boolean | undefined;
  for (const option of options) {
    const [key, value] = cut(option, "=");
    if ((option === "required" || option === "optional") && required === undefined) required = option === "required";
    else if (key === "env" && value && env === undefined) env = value;
    else if (key === "target" && value && target === undefined) target = value;
    else {
      throw new Fault(`SECRET has no place for "${option}"`, {
        hint: suggestion(
          key,
          ["env", "target", "required", "optional"],
          "write SECRET NAME [env=VARIABLE] [target=/path] [required|optional]",
        ),
        at: option,
      });
    }
  }
  return {
    kind: "SECRET",
    name: name!,
    ...(env === undefined ? {} : { env }),
    ...(target === undefined ? {} : { target }),
    required: required ?? true,
  };
}

function readRender(statement: Statement): AegisInstruction {
  // Flags may stand on either side of the path: behind it they read better.
  const words = splitWhitespace(statement.rest);
  const late = words.filter((word) => word.startsWith("--"));
  const [path, mark, ...more] = words.filter((word) => !word.startsWith("--"));
  const flags = readFlags([...statement.flags, ...late], { mode: "text", chown: "text", tmpfs: "boolean" }, "RENDER");
  const hint = "write RENDER /path [--mode=0600] [--chown=user:group] [--tmpfs] <<EOF, then the file's lines, then EOF";
  const [heredoc] = statement.heredocs;
  if (path === undefined || heredocMark(path))
    throw new Fault("RENDER needs a path and a here-document", { hint, at: path ?? statement.name });
  if (mark === undefined || !heredocMark(mark) || heredoc === undefined) {
    throw new Fault("RENDER needs a here-document with the file's content", { hint, at: mark ?? path });
  }
  if (more.length > 0) throw new Fault(`RENDER takes one path and one here-document`, { hint, at: more[0] });
  const mode = flags.text("mode");
  const chown = flags.text("chown");
  return {
    kind: "RENDER",
    path,
    ...(mode === undefined ? {} : { mode }),
    ...(chown === undefined ? {} : { chown }),
    ...(flags.boolean("tmpfs") === true ? { tmpfs: true } : {}),
    template: heredoc.content,
  };
}

/**
 * Checks values that contain no variables (any more).
 * @throws Fault
 */
export function checkAegis(instruction: AegisInstruction): void {
  switch (instruction.kind) {
    case "MEMORY":
    case "DISK":
      checkSize(instruction.kind, instruction.size);
      return;
    case "CPUS":
      if (!/^[1-9]\d{0,2}$/.test(instruction.count) || Number(instruction.count) > 255) {
        throw new Fault(`CPUS ${instruction.count} is not a number of virtual CPUs`, {
          hint: "write a whole number from 1 to 255",
          at: instruction.count,
        });
      }
      return;
    case "IDLE":
      if (instruction.after.toLowerCase() !== "off") checkDuration("IDLE", instruction.after);
      return;
    case "RESTART":
      checkRestart(instruction.policy);
      return;
    case "SECRET":
      checkSecret(instruction.name, instruction.env, instruction.target);
      return;
    case "WORKSPACE":
      checkAbsolute("WORKSPACE", instruction.path);
      return;
    case "ERRORLOG":
      checkAbsolute("ERRORLOG", instruction.glob);
      return;
    case "RENDER":
      checkAbsolute("RENDER", instruction.path);
      if (instruction.tmpfs && !/^\/.*[^/]\/[^/]/.test(instruction.path)) {
        throw new Fault("--tmpfs takes the file's directory, and this one has none but the root", {
          hint: "put the file into a directory of its own",
          at: "--tmpfs",
        });
      }
      if (instruction.mode !== undefined && !/^[0-7]{3,4}$/.test(instruction.mode)) {
        throw new Fault(`--mode=${instruction.mode} is not a file mode`, {
          hint: "write three or four octal digits, like 0600",
          at: "--mode",
        });
      }
      parseTemplate(instruction.template);
  }
}

const smallest = 16 * 2 ** 20;

function checkSize(kind: string, text: string): void {
  const bytes = withFault(() => parseSize(text), kind, text);
  if (bytes >= smallest) return;
  const hint = /^\d+$/.test(text) ? `did you mean ${text}g?` : "the least is 16m";
  throw new Fault(`${kind} ${text} is too little`, { hint, at: text });
}

function checkDuration(kind: string, text: string): void {
  const ms = withFault(() => parseDuration(text), kind, text);
  if (ms < 1000)
    throw new Fault(`${kind} ${text} is shorter than a second`, {
      hint: `write ${kind} 10m, or ${kind} off`,
      at: text,
    });
}

function withFault<T>(parse: () => T, kind: string, text: string): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof AegisError)) throw error;
    throw new Fault(`${kind}: ${error.message}`, { hint: error.hint, at: text });
  }
}

function checkRestart(policy: string): void {
  const [name, count] = cut(policy, ":");
  const known = ["no", "always", "unless-stopped", "on-failure"];
  const counted = count === undefined || (name === "on-failure" && /^\d{1,9}$/.test(count));
  if (known.includes(name) && counted) return;
  throw new Fault(`RESTART ${policy} is not a restart policy`, {
    hint: suggestion(name, known, "it is one of no, always, unless-stopped, on-failure and on-failure:N"),
    at: policy,
  });
}

function checkSecret(name: string, env: string | undefined, target: string | undefined): void {
  for (const word of [name, env]) {
    if (word === undefined || /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(word)) continue;
    throw new Fault(`"${word}" is not the name of a secret or variable`, {
      hint: "use letters, digits and underscores; the value itself never belongs in this file",
      at: word,
    });
  }
  if (target !== undefined) checkAbsolute("SECRET target=", target);
}

function checkAbsolute(what: string, path: string): void {
  if (path.startsWith("/") && path !== "/" && !path.split("/").includes("..") && !path.includes("\0")) return;
  throw new Fault(`${what} needs an absolute path, not "${path}"`, {
    hint: `did you mean /${path.replace(/^[./]+/, "")}?`,
    at: path,
  });
}

/** Text of a Dockerfile or Aegisfile to stages of instructions. */
import { Fault, located } from "./errors.js";
import { readFrom } from "./instructions/from.js";
import { readInstruction } from "./instructions/index.js";
import type { ReadContext } from "./instructions/reader.js";
import { readStatements, type Statement } from "./statements.js";
import {
  type Dialect,
  type Dockerfile,
  type Instruction,
  type InstructionOf,
  type LintWarning,
  maxDockerfileBytes,
  type SourceRange,
  type Stage,
} from "./types.js";

export interface ParseOptions {
  /** As messages call the file; `Dockerfile` unless told. */
  readonly filename?: string;
  /** `aegisfile` allows the machine's instructions; `dockerfile` unless told. */
  readonly dialect?: Dialect;
}

const maxInstructions = 100_000;
const maxStages = 10_000;

/**
 * Reads a whole file. Words of the instructions stay raw: `expandInstruction` turns them into values.
 * @throws AegisError DOCKERFILE_SYNTAX, DOCKERFILE_UNKNOWN_INSTRUCTION, DOCKERFILE_UNKNOWN_FLAG, DOCKERFILE_AEGIS_INSTRUCTION,
 * DOCKERFILE_EMPTY; all carry file, line and column in `details` and the lines around in `context`
 */
export function parseDockerfile(input: string | Uint8Array, options: ParseOptions = {}): Dockerfile {
  const name = options.filename ?? "Dockerfile";
  const dialect = options.dialect ?? "dockerfile";
  const start = { startLine: 1, endLine: 1 };
  located({ name, lines: [] }, start, () => {
    if (Buffer.byteLength(input) <= maxDockerfileBytes) return;
    throw new Fault("the file is larger than 16 MiB", { code: "DOCKERFILE_TOO_LARGE" });
  });
  const text =
    typeof input === "string" ? input : Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString("utf8");
  const read = readStatements(text, name, dialect);
  const { file, statements } = read;
  const tooMany = (what: string) => new Fault(`there are more than ${what}`, { code: "DOCKERFILE_TOO_LARGE" });
  located(file, start, () => {
    if (statements.length > maxInstructions) throw tooMany(`${maxInstructions} instructions`);
    if (statements.filter(({ kind }) => kind === "FROM").length > maxStages) throw tooMany(`${maxStages} stages`);
  });
  const found: LintWarning[] = [...read.warnings];
  const context: ReadContext = {
    warn: (rule, message, { range }) => found.push({ rule, message, range }),
  };
  const globalArgs: InstructionOf<"ARG">[] = [];
  const stages: { readonly head: Omit<Stage, "index" | "instructions">; readonly instructions: Instruction[] }[] = [];
  for (const statement of statements) {
    located(file, statement.range, () => {
      if (statement.kind === "FROM") {
        stages.push({ head: readFrom(statement, context), instructions: [] });
        return;
      }
      const instruction = readInstruction(statement, dialect, context);
      const stage = stages.at(-1);
      if (stage !== undefined) stage.instructions.push(instruction);
      else if (instruction.kind === "ARG") globalArgs.push(instruction);
      else throw beforeFrom(statement);
    });
  }
  return {
    dialect,
    file,
    escape: read.escape,
    directives: read.directives,
    globalArgs,
    stages: stages.map(({ head, instructions }, index) => ({ index, ...head, instructions })),
    warnings: found,
  };
}

function beforeFrom(statement: Statement): Fault {
  return new Fault(`${statement.kind} stands before the first FROM`, {
    hint: "only ARG, comments and parser directives may; start the file with FROM",
    at: statement.name,
  });
}

/**
 * The instruction that an ONBUILD expression (of this file or of a base image's configuration) stands for, with `range` for
 * messages.
 * @throws AegisError as `parseDockerfile`, and DOCKERFILE_ONBUILD when it is not exactly one allowed instruction
 */
export function parseOnbuild(
  expression: string,
  range: SourceRange = { startLine: 1, endLine: 1 },
  onWarning: (rule: string, message: string) => void = () => {},
): Instruction {
  const { file, statements } = readStatements(expression, "ONBUILD", "dockerfile");
  const [statement] = statements;
  return located(file, statement?.range ?? range, () => {
    if (statement === undefined || statements.length !== 1) {
      throw new Fault("an ONBUILD trigger is exactly one instruction", { code: "DOCKERFILE_ONBUILD" });
    }
    if (["FROM", "ONBUILD", "MAINTAINER"].includes(statement.kind)) {
      throw new Fault(`${statement.kind} isn't allowed as an ONBUILD trigger`, { code: "DOCKERFILE_ONBUILD" });
    }
    return { ...readInstruction(statement, "dockerfile", { warn: onWarning }), range };
  });
}

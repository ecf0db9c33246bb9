/** One statement to one instruction. */
import { Fault } from "../errors.js";
import { readFlags } from "../flags.js";
import type { Statement } from "../statements.js";
import { suggestion } from "../suggest.js";
import type { Dialect, Instruction } from "../types.js";
import { aegisKinds, checkAegis, readAegis } from "./aegis.js";
import { readArg, readHealthcheck, readPairs, readPorts, readShell, readText, readVolumes } from "./config.js";
import { readAdd, readCopy } from "./copy.js";
import { readOnbuild } from "./from.js";
import { commandOf, type ReadContext } from "./reader.js";
import { readRun } from "./run.js";

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
type Body = DistributiveOmit<Instruction, "range" | "source">;
type DockerKind = Exclude<Instruction["kind"], (typeof aegisKinds)[number]>;

const readers: Readonly<Record<DockerKind, (statement: Statement, context: ReadContext) => Body>> = {
  ADD: readAdd,
  ARG: (statement, context) => ({ kind: "ARG", args: readArg(statement, context) }),
  CMD: (statement) => ({ kind: "CMD", command: plainCommand(statement) }),
  COPY: readCopy,
  ENTRYPOINT: (statement) => ({ kind: "ENTRYPOINT", command: plainCommand(statement) }),
  ENV: (statement, context) => ({ kind: "ENV", pairs: readPairs(statement, context) }),
  EXPOSE: (statement) => ({ kind: "EXPOSE", ports: readPorts(statement) }),
  HEALTHCHECK: (statement) => ({ kind: "HEALTHCHECK", check: readHealthcheck(statement) }),
  LABEL: (statement, context) => ({ kind: "LABEL", pairs: readPairs(statement, context) }),
  MAINTAINER: (statement, context) => {
    context.warn("MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label", statement);
    return { kind: "MAINTAINER", name: readText(statement) };
  },
  ONBUILD: (statement) => ({ kind: "ONBUILD", expression: readOnbuild(statement) }),
  RUN: readRun,
  SHELL: (statement) => ({ kind: "SHELL", argv: readShell(statement) }),
  STOPSIGNAL: (statement) => ({ kind: "STOPSIGNAL", signal: readText(statement) }),
  USER: (statement) => ({ kind: "USER", user: readText(statement) }),
  VOLUME: (statement) => ({ kind: "VOLUME", paths: readVolumes(statement) }),
  WORKDIR: (statement) => ({ kind: "WORKDIR", path: readText(statement) }),
};

const dockerKinds = Object.keys(readers) as DockerKind[];

/**
 * The instruction of a statement that is not FROM.
 * @throws Fault
 */
export function readInstruction(statement: Statement, dialect: Dialect, context: ReadContext): Instruction {
  const place = { range: statement.range, source: statement.source };
  const aegis = aegisKinds.find((kind) => kind === statement.kind);
  if (aegis !== undefined) {
    if (dialect === "dockerfile") throw aegisInDockerfile(statement);
    const instruction = readAegis(aegis, statement);
    if (!statement.rest.includes("$") || aegis === "RENDER") checkAegis(instruction);
    return { ...place, ...instruction };
  }
  const kind = dockerKinds.find((candidate) => candidate === statement.kind);
  if (kind === undefined) throw unknownInstruction(statement, dialect);
  return { ...place, ...readers[kind](statement, context) } as Instruction;
}

function plainCommand(statement: Statement) {
  readFlags(statement.flags, {}, statement.kind);
  return commandOf(statement.rest);
}

function unknownInstruction(statement: Statement, dialect: Dialect): Fault {
  const known = ["FROM", ...dockerKinds, ...(dialect === "aegisfile" ? aegisKinds : [])];
  return new Fault(`unknown instruction ${statement.name}`, {
    code: "DOCKERFILE_UNKNOWN_INSTRUCTION",
    hint: suggestion(statement.name, known, `known are ${known.sort().join(", ")}`),
    at: statement.name,
  });
}

function aegisInDockerfile(statement: Statement): Fault {
  return new Fault(`${statement.kind} is an instruction of an Aegisfile, and this is a Dockerfile`, {
    code: "DOCKERFILE_AEGIS_INSTRUCTION",
    hint: "rename the file to Aegisfile, or give the setting to aegis run as a flag",
    at: statement.name,
  });
}

/** FROM and ONBUILD. */
import { Fault } from "../errors.js";
import { readFlags } from "../flags.js";
import { type Statement, splitStatement } from "../statements.js";
import { splitWhitespace, trimSpace } from "../text.js";
import type { Stage } from "../types.js";
import { checkDescription, descriptionOf, readPairs } from "./config.js";
import { atLeastOne, jsonForm, type ReadContext } from "./reader.js";

const reservedNames = ["context", "scratch"];

/** The stage that a FROM opens, without its place among the others. */
export function readFrom(statement: Statement, context: ReadContext): Omit<Stage, "index" | "instructions"> {
  const words = splitWhitespace(statement.rest);
  const [image, as, written] = words;
  const named = words.length === 3 && as?.toLowerCase() === "as";
  if (image === undefined || (words.length !== 1 && !named)) {
    throw new Fault("FROM requires either one or three arguments", {
      hint: "write FROM image, or FROM image AS name",
      at: statement.rest || statement.name,
    });
  }
  const name = named ? written!.toLowerCase() : undefined;
  if (name !== undefined && !/^[a-z][a-z0-9\-_.]*$/.test(name)) {
    throw new Fault(`invalid name for build stage: "${written}"`, {
      hint: "a name starts with a letter and has only letters, digits, dots, dashes and underscores",
      at: written,
    });
  }
  if (name !== undefined) checkDescription([name], statement, context);
  if (named) warnOfNames(statement, as!, written!, context);
  const platform = readFlags(statement.flags, { platform: "text" }, "FROM").text("platform");
  const description = descriptionOf(statement.comments, name);
  return {
    image,
    ...(name === undefined ? {} : { name }),
    ...(platform === undefined || platform === "" ? {} : { platform }),
    ...(description === undefined ? {} : { description }),
    range: statement.range,
    source: trimSpace(statement.source),
  };
}

function warnOfNames(statement: Statement, as: string, written: string, context: ReadContext): void {
  if (differsInCase(statement.name, as)) {
    const message = `'${as}' and '${statement.name}' keywords' casing do not match`;
    context.warn("FromAsCasing", message, statement);
  }
  if (written !== written.toLowerCase()) {
    context.warn("StageNameCasing", `Stage name '${written}' should be lowercase`, statement);
  }
  if (reservedNames.includes(written.toLowerCase())) {
    const message = `Stage name should not use the same name as reserved stage "${written}"`;
    context.warn("ReservedStageName", message, statement);
  }
}

/** A FROM in mixed case is another rule's matter. */
const differsInCase = (from: string, as: string): boolean =>
  (from === from.toLowerCase() && as !== as.toLowerCase()) || (from === from.toUpperCase() && as !== as.toUpperCase());

/** The trigger as it is recorded: the rest of the line and the here-documents that belong to it. */
export function readOnbuild(statement: Statement): string {
  atLeastOne(statement);
  readFlags(statement.flags, {}, "ONBUILD");
  const inner = splitStatement(statement.rest, statement.escape);
  const trigger = inner.kind;
  if (trigger === "ONBUILD") throw new Fault("ONBUILD can not be the trigger of ONBUILD", { at: statement.rest });
  if (trigger === "FROM" || trigger === "MAINTAINER") {
    throw new Fault(`${trigger} isn't allowed as an ONBUILD trigger`, { at: statement.rest });
  }
  checkTrigger({ ...statement, ...inner });
  const expression = statement.source.replace(/^\s*ONBUILD\s*/i, "");
  return statement.heredocs.reduce((text, heredoc) => `${text}\n${heredoc.raw}${heredoc.name}`, expression);
}

/** What is wrong with a trigger's words shows at once; unknown instructions and flags only when it fires, as in the reference. */
function checkTrigger(trigger: Statement): void {
  if (trigger.rest === "") return;
  if (trigger.kind === "ENV" || trigger.kind === "LABEL") readPairs({ ...trigger, flags: [] }, { warn: () => {} });
  else if (jsonKinds.has(trigger.kind)) jsonForm(trigger.rest);
}

const jsonKinds = new Set(["ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"]);

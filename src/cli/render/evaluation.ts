/** `build --call`: the reference's words and shapes, so that whoever reads them by program needs no other reader. */
import type { EvaluatedFile, Evaluation } from "../../build/evaluate.js";
import { describeRule } from "../../dockerfile/lint/rules.js";
import type { Outline, OutlinedMount, TargetSummary } from "../../dockerfile/outline.js";
import type { LintWarning, SourceRange } from "../../dockerfile/types.js";

export function evaluationText(evaluation: Evaluation): string {
  switch (evaluation.method) {
    case "check":
      return checkText(evaluation);
    case "outline":
      return outlineText(evaluation.outline);
    case "targets":
      return targetsText(evaluation.targets);
  }
}

export function evaluationJson(evaluation: Evaluation): object {
  const data = Buffer.from(evaluation.file.content).toString("base64");
  switch (evaluation.method) {
    case "check": {
      const { warnings, failure, file } = evaluation;
      return {
        warnings: warnings.length === 0 ? null : warnings.map(warningJson),
        sources: [{ filename: file.name, data, language: "Dockerfile" }],
        ...(failure === undefined ? {} : { buildError: buildError(failure) }),
      };
    }
    case "outline": {
      const { name, description, args, secrets, ssh } = evaluation.outline;
      return {
        name,
        description,
        args: some(
          args.map(({ range, ...arg }) => ({
            name: arg.name,
            description: arg.description,
            value: arg.value,
            location: location(range),
          })),
        ),
        secrets: some(secrets.map(mountJson)),
        ssh: some(ssh.map(mountJson)),
        sources: [data],
      };
    }
    case "targets":
      return {
        targets: evaluation.targets.map(({ name, isDefault, description, base, platform, range }) => ({
          name,
          default: isDefault || undefined,
          description,
          base,
          platform,
          location: location(range),
        })),
        sources: [data],
      };
  }
}

const some = <T>(list: readonly T[]): readonly T[] | undefined => (list.length === 0 ? undefined : list);

const location = ({ startLine, endLine }: SourceRange) => ({
  ranges: [{ start: { line: startLine }, end: { line: endLine } }],
});

const warningJson = ({ rule, message, range }: LintWarning) => ({
  ruleName: rule,
  ...describeRule(rule),
  detail: message,
  location: location(range),
});

function buildError({ message, details }: NonNullable<Extract<Evaluation, { method: "check" }>["failure"]>): object {
  const { line, endLine } = details ?? {};
  if (typeof line !== "number") return { message };
  return { message, location: location({ startLine: line, endLine: typeof endLine === "number" ? endLine : line }) };
}

const mountJson = ({ name, required, range }: OutlinedMount) => ({
  name,
  required: required || undefined,
  location: location(range),
});

function checkText({ warnings, file, failure }: Extract<Evaluation, { method: "check" }>): string {
  const { length } = warnings;
  if (length === 0) return failure ? "" : "Check complete, no warnings found.\n";
  const found = length === 1 ? "1 warning has been found!" : `${length} warnings have been found!`;
  const told = warnings.map(({ rule, message, range }) =>
    [`\nWARNING: ${rule} - ${describeRule(rule).url}`, message, `${sourceExcerpt(file, range)}\n`].join("\n"),
  );
  return `Check complete, ${found}\n${told.join("")}${failure ? "\n" : ""}`;
}

/** The lines of `range` and two around them, one where there are several, as the reference frames them. */
export function sourceExcerpt({ name, content }: EvaluatedFile, { startLine, endLine }: SourceRange): string {
  const lines = Buffer.from(content).toString("utf8").split("\n");
  let [first, last] = [startLine, Math.min(endLine, lines.length)];
  const wanted = first === last ? 4 : 2;
  // Where one side has no more lines the other gets them.
  for (let shown = 0; shown < wanted; shown++) {
    if (first > 1) [first, shown] = [first - 1, shown + 1];
    if (last < lines.length) [last, shown] = [last + 1, shown + 1];
  }
  const rule = "-".repeat(20);
  const framed = lines.slice(first - 1, last).map((line, i) => {
    const number = first + i;
    const mark = number >= startLine && number <= endLine ? ">>>" : "   ";
    return ` ${String(number).padStart(3)} | ${mark} ${line}`;
  });
  return [`${name}:${startLine}`, rule, ...framed, rule].join("\n");
}

function outlineText({ name, description, args, secrets, ssh }: Outline): string {
  const sections: string[] = [];
  if (name !== undefined || description !== undefined) {
    const rows = [["TARGET:", name ?? ""], ...(description === undefined ? [] : [["DESCRIPTION:", description]])];
    sections.push(columns(rows, 1));
  }
  if (args.length > 0) {
    const rows = args.map((arg) => [arg.name, arg.value ?? "", arg.description ?? ""]);
    sections.push(columns([["BUILD ARG", "VALUE", "DESCRIPTION"], ...rows], 3));
  }
  for (const [title, mounts] of [
    ["SECRET", secrets],
    ["SSH", ssh],
  ] as const) {
    if (mounts.length === 0) continue;
    sections.push(columns([[title, "REQUIRED"], ...mounts.map((it) => [it.name, it.required ? "true" : ""])], 3));
  }
  return sections.map((section) => `${section}\n`).join("");
}

function targetsText(targets: readonly TargetSummary[]): string {
  const rows = targets.map(({ name, isDefault, description }) => [
    [name ?? "", isDefault ? "(default)" : ""].filter(Boolean).join(" "),
    description ?? "",
  ]);
  return columns([["TARGET", "DESCRIPTION"], ...rows], 1);
}

/** Rows with all columns but the last one padded. */
function columns(rows: readonly (readonly string[])[], gap: number): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)) + gap);
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!))).join("");
  return rows.map((row) => `${line(row)}\n`).join("");
}

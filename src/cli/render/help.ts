/** Help as text: the overview by category, and one command's page from what its class declares. */
import type { BaseContext, CommandClass } from "clipanion";
import { type CommandEntry, commands, commandsUnder } from "../registry.js";
import type { CommandShape, DeclaredOption } from "../shape.js";

const order: readonly CommandEntry["category"][] = [
  "Build",
  "Run",
  "Inspect",
  "Images",
  "Secrets and volumes",
  "System",
];

/** All commands, or those under `words`, by category. */
export function groupHelp(words: readonly string[]): string {
  const names = commandsUnder(words);
  const width = Math.max(...names.map((name) => name.length)) + 3;
  const lines = [
    `usage: aegis ${words.length === 0 ? "COMMAND" : `${words.join(" ")} COMMAND`} [OPTIONS]`,
    ...(words.length === 0 ? ["", "Builds a Dockerfile or Aegisfile and boots it as a microVM."] : []),
  ];
  for (const category of order) {
    const inside = names.filter((name) => commands[name]!.category === category);
    if (inside.length === 0) continue;
    lines.push("", `${category}:`, ...inside.map((name) => `  ${name.padEnd(width)}${commands[name]!.summary}`));
  }
  lines.push("", `"aegis help COMMAND" tells more about one of them.`);
  return `${lines.join("\n")}\n`;
}

/** One command's page. */
export function commandHelp(
  name: string,
  entry: CommandEntry,
  commandClass: CommandClass<BaseContext>,
  shape: CommandShape,
): string {
  const options = shape.options.filter((option) => !option.hidden);
  const usage = [
    `usage: aegis ${name}`,
    ...(options.length > 0 ? ["[OPTIONS]"] : []),
    ...shape.required.map(placeholder),
    ...shape.optional.map((n) => `[${placeholder(n)}]`),
    ...(shape.rest === undefined ? [] : [`[${placeholder(shape.rest)}...]`]),
  ];
  const lines = [usage.join(" "), "", `${entry.summary}.`];
  const { details, examples } = commandClass.usage ?? {};
  if (details)
    lines.push(
      "",
      ...details
        .trim()
        .split("\n")
        .map((line) => line.trim()),
    );
  if (options.length > 0) lines.push("", "Options:", ...optionLines(options));
  if (examples && examples.length > 0) {
    lines.push("", "Examples:");
    for (const [what, line] of examples) lines.push(`  # ${what}`, `  ${line.replaceAll("$0", "aegis")}`);
  }
  return `${lines.join("\n")}\n`;
}

const placeholder = (name: string) => name.replace(/([a-z])([A-Z])/g, "$1-$2").toUpperCase();

function optionLines(options: readonly DeclaredOption[]): readonly string[] {
  const rows = options
    .map((option) => {
      const short = option.names.filter((n) => !n.startsWith("--"));
      const long = option.names.filter((n) => n.startsWith("--"));
      const names = `${short.length === 0 ? "    " : ""}${[...short, ...long].join(", ")}`;
      return { sort: (long[0] ?? short[0]!).replace(/^-+/, ""), names, text: option.description ?? "", option };
    })
    .sort((a, b) => (a.sort < b.sort ? -1 : 1))
    .map((row) => ({ head: `  ${row.names}${row.option.takesValue ? " VALUE" : ""}`, text: row.text }));
  const width = Math.min(34, Math.max(...rows.map((row) => row.head.length)) + 3);
  return rows.flatMap(({ head, text }) => {
    const [first = "", ...more] = wrap(text, 110 - width);
    const indented = more.map((line) => " ".repeat(width) + line);
    if (head.length + 2 > width) return [head, ...[first, ...more].map((line) => " ".repeat(width) + line)];
    return [(head.padEnd(width) + first).trimEnd(), ...indented];
  });
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

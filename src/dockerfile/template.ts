/**
 * The small language of RENDER: text with `{{ ... }}` actions, evaluated on the host at every boot from secrets and environment.
 *
 *     {{ secret "NAME" | json }}          a JSON string, quotes included
 *     {{ env "PORT" | default "8080" }}
 *     {{ if secret "NAME" }} ... {{ else if env "X" }} ... {{ else }} ... {{ end }}
 *
 * Filters: json, default "text", trim, upper, lower, base64, urlencode. `{{-` and `-}}` eat the white space beside them.
 */
import { AegisError } from "../support/errors.js";
import { Fault } from "./errors.js";
import { suggestion } from "./suggest.js";
import type { Lookup } from "./types.js";

export type Template = readonly TemplateNode[];

type TemplateNode =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "value"; readonly value: Pipeline }
  | {
      readonly kind: "if";
      readonly condition: Pipeline;
      readonly consequent: Template;
      readonly alternative: Template;
    };

interface Pipeline {
  readonly source: { readonly kind: "secret" | "env" | "text"; readonly name: string };
  readonly filters: readonly { readonly name: FilterName; readonly argument?: string }[];
  /** As written, for messages. */
  readonly text: string;
}

const filters = {
  json: (value: string) => JSON.stringify(value),
  trim: (value: string) => value.trim(),
  upper: (value: string) => value.toUpperCase(),
  lower: (value: string) => value.toLowerCase(),
  base64: (value: string) => Buffer.from(value, "utf8").toString("base64"),
  urlencode: (value: string) => encodeURIComponent(value),
  default: (value: string) => value,
} as const;
type FilterName = keyof typeof filters;
const filterNames = Object.keys(filters) as FilterName[];

const maxDepth = 50;

/**
 * @throws Fault on syntax errors, their `at` being the faulty action
 */
export function parseTemplate(text: string): Template {
  const tokens = tokenize(text);
  let at = 0;
  const block = (depth: number, opener: string | undefined): { nodes: TemplateNode[]; end: string } => {
    if (depth > maxDepth) throw new Fault("template blocks are nested too deeply", { at: opener });
    const nodes: TemplateNode[] = [];
    for (let token = tokens[at]; token !== undefined; token = tokens[at]) {
      at++;
      if (token.kind === "text") {
        if (token.text !== "") nodes.push(token);
      } else if (/^if\s/.test(token.text)) {
        nodes.push(conditional(token.text.slice(2), token.whole, depth));
      } else if (token.text === "end" || token.text === "else" || /^else\s+if\s/.test(token.text)) {
        if (opener === undefined)
          throw new Fault(`{{ ${token.text} }} belongs to no {{ if ... }}`, { at: token.whole });
        return { nodes, end: token.text };
      } else nodes.push({ kind: "value", value: parsePipeline(token.text, token.whole) });
    }
    if (opener !== undefined) throw new Fault("a template's {{ if ... }} has no {{ end }}", { at: opener });
    return { nodes, end: "" };
  };
  const conditional = (condition: string, whole: string, depth: number): TemplateNode => {
    const value = parsePipeline(condition.trim(), whole);
    const then = block(depth + 1, whole);
    if (then.end === "end") return { kind: "if", condition: value, consequent: then.nodes, alternative: [] };
    if (then.end !== "else") {
      const next = conditional(then.end.replace(/^else\s+if/, ""), whole, depth + 1);
      return { kind: "if", condition: value, consequent: then.nodes, alternative: [next] };
    }
    const otherwise = block(depth + 1, whole);
    if (otherwise.end !== "end") throw new Fault("{{ else }} is followed by another {{ else }}", { at: whole });
    return { kind: "if", condition: value, consequent: then.nodes, alternative: otherwise.nodes };
  };
  return block(0, undefined).nodes;
}

/**
 * The file's content. A value that is unset and has no default is an error; `if` takes unset and empty as false.
 * @throws AegisError RENDER_UNSET, RENDER_SYNTAX; messages name secrets, never their values
 */
export function renderTemplate(text: string, scope: { readonly secret: Lookup; readonly env: Lookup }): string {
  const show = (nodes: Template): string =>
    nodes
      .map((node) => {
        if (node.kind === "text") return node.text;
        if (node.kind === "if") return show(evaluate(node.condition, scope) ? node.consequent : node.alternative);
        const value = evaluate(node.value, scope);
        if (value !== undefined) return value;
        const { kind, name } = node.value.source;
        throw new AegisError(
          "RENDER_UNSET",
          `{{ ${node.value.text} }} needs the ${kind === "env" ? "variable" : kind} ${name}, which is not set`,
          {
            hint:
              kind === "secret"
                ? `set it with aegis secret set ${name}`
                : `give a default: {{ env "${name}" | default "..." }}`,
            details: { [kind]: name },
          },
        );
      })
      .join("");
  return show(parsed(text));
}

/** Names of the secrets and variables that a template reads, each once. */
export function templateReferences(text: string): {
  readonly secrets: readonly string[];
  readonly env: readonly string[];
} {
  const secrets = new Set<string>();
  const env = new Set<string>();
  const visit = (nodes: Template): void => {
    for (const node of nodes) {
      if (node.kind === "text") continue;
      const { source } = node.kind === "if" ? node.condition : node.value;
      if (source.kind === "secret") secrets.add(source.name);
      if (source.kind === "env") env.add(source.name);
      if (node.kind === "if") {
        visit(node.consequent);
        visit(node.alternative);
      }
    }
  };
  visit(parsed(text));
  return { secrets: [...secrets], env: [...env] };
}

function parsed(text: string): Template {
  try {
    return parseTemplate(text);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new AegisError(
      "RENDER_SYNTAX",
      `template: ${error.message}`,
      error.hint === undefined ? {} : { hint: error.hint },
    );
  }
}

function evaluate(pipeline: Pipeline, scope: { readonly secret: Lookup; readonly env: Lookup }): string | undefined {
  const { source } = pipeline;
  let value = source.kind === "text" ? source.name : scope[source.kind](source.name);
  for (const filter of pipeline.filters) {
    if (filter.name === "default") {
      if (value === undefined || value === "") value = filter.argument!;
    } else if (value !== undefined) value = filters[filter.name](value);
  }
  return value;
}

type Token =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "action"; readonly text: string; readonly whole: string };

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let eatLeft = false;
  const pushText = (raw: string, eatRight: boolean) => {
    let shown = raw;
    if (eatLeft) shown = shown.trimStart();
    if (eatRight) shown = shown.trimEnd();
    tokens.push({ kind: "text", text: shown });
  };
  for (;;) {
    const open = text.indexOf("{{", at);
    if (open < 0) {
      pushText(text.slice(at), false);
      return tokens;
    }
    const close = actionEnd(text, open + 2);
    if (close < 0) throw new Fault("a template's {{ has no }}", { at: text.slice(open).split("\n", 1)[0] });
    const whole = text.slice(open, close + 2);
    const dashed = whole.startsWith("{{-");
    pushText(text.slice(at, open), dashed);
    eatLeft = whole.endsWith("-}}");
    const inner = whole.slice(dashed ? 3 : 2, eatLeft ? -3 : -2).trim();
    if (inner === "") throw new Fault("a template has an empty {{ }}", { at: whole });
    tokens.push({ kind: "action", text: inner, whole });
    at = close + 2;
  }
}

/** Where the `}}` of an action is; those inside quotes don't count. */
function actionEnd(text: string, start: number): number {
  let quoted = false;
  for (let at = start; at < text.length; at++) {
    if (quoted && text[at] === "\\") at++;
    else if (text[at] === '"') quoted = !quoted;
    else if (!quoted && text.startsWith("}}", at)) return at;
  }
  return -1;
}

function parsePipeline(text: string, whole: string): Pipeline {
  const words = text.match(/"(?:[^"\\]|\\.)*"|\||[^\s|"]+|"/g) ?? [];
  const stages: string[][] = [[]];
  for (const word of words) {
    if (word === "|") stages.push([]);
    else stages.at(-1)!.push(word);
  }
  const [first, ...rest] = stages;
  return { source: parseSource(first!, whole), filters: rest.map((words) => parseFilter(words, whole)), text };
}

function parseSource(words: readonly string[], whole: string): Pipeline["source"] {
  const [head, argument, ...more] = words;
  if (head?.startsWith('"') && argument === undefined) return { kind: "text", name: literal(head, whole) };
  if (head !== "secret" && head !== "env") {
    throw new Fault(`a template has no ${head === undefined ? "value before |" : `function ${head}`}`, {
      hint: suggestion(head ?? "", ["secret", "env"], 'write {{ secret "NAME" }} or {{ env "NAME" }}'),
      at: whole,
    });
  }
  if (argument === undefined || more.length > 0) {
    throw new Fault(`${head} takes one quoted name`, { hint: `write {{ ${head} "NAME" }}`, at: whole });
  }
  return { kind: head, name: literal(argument, whole) };
}

function parseFilter(words: readonly string[], whole: string): Pipeline["filters"][number] {
  const [head, argument, ...more] = words;
  const name = filterNames.find((known) => known === head);
  if (name === undefined) {
    const hint = suggestion(head ?? "", filterNames, `known are ${filterNames.join(", ")}`);
    throw new Fault(head === undefined ? "a template has nothing behind |" : `a template has no filter ${head}`, {
      hint,
      at: whole,
    });
  }
  if (more.length > 0 || (argument !== undefined) !== (name === "default")) {
    throw new Fault(name === "default" ? "default takes one quoted text" : `${name} takes no argument`, { at: whole });
  }
  return { name, ...(argument === undefined ? {} : { argument: literal(argument, whole) }) };
}

/** A double-quoted text with JSON's escapes. */
function literal(word: string, whole: string): string {
  try {
    const value: unknown = JSON.parse(word);
    if (typeof value === "string") return value;
  } catch {
    // Reported below with what is expected.
  }
  throw new Fault(`${word} is not a text in double quotes`, { at: whole });
}

/**
 * RENDER's templates: `{{ secret "NAME" | json }}`, `{{ env "NAME" }}`, with the filters json, base64, trim, indent N and
 * default "text". `{{-` and `-}}` take the white space beside them away, as in Go's templates.
 */
import { AegisError } from "../support/errors.js";

export interface RenderValues {
  secret(name: string): string | undefined;
  env(name: string): string | undefined;
}

/** @throws AegisError RENDER_TEMPLATE, RENDER_VALUE (a value that is not there) */
export function renderTemplate(template: string, values: RenderValues, path: string): string {
  return template.replace(
    /(\s*\{\{-|\{\{)([\s\S]*?)(-\}\}\s*|\}\})/g,
    (_whole, open: string, body: string, close: string) => {
      const lead = open.endsWith("-") ? "" : open.slice(0, -2);
      const trail = close.startsWith("-") ? "" : close.slice(2);
      return lead + evaluate(body, values, path) + trail;
    },
  );
}

function evaluate(body: string, values: RenderValues, path: string): string {
  const wrong = (what: string) =>
    new AegisError("RENDER_TEMPLATE", `RENDER ${path}: {{${body}}}: ${what}`, {
      hint: 'write {{ secret "NAME" | json }} or {{ env "NAME" | default "x" }}',
    });
  const [call = "", ...filters] = splitPipes(body);
  const source = /^(secret|env)\s+("(?:[^"\\]|\\.)*")$/.exec(call);
  if (!source) throw wrong("neither a secret nor an environment variable");
  const name = unquote(source[2]!);
  let value = source[1] === "secret" ? values.secret(name) : values.env(name);
  for (const filter of filters) {
    const [, word, argument] = /^(\w+)(?:\s+(.+))?$/.exec(filter) ?? [];
    if (word === "default" && argument && /^".*"$/.test(argument)) value ??= unquote(argument);
    else if (value === undefined) break;
    else if (word === "json" && !argument) value = JSON.stringify(value);
    else if (word === "base64" && !argument) value = Buffer.from(value).toString("base64");
    else if (word === "trim" && !argument) value = value.trim();
    else if (word === "indent" && argument && /^\d{1,2}$/.test(argument)) {
      value = value.replaceAll("\n", `\n${" ".repeat(Number(argument))}`);
    } else throw wrong(`there is no filter "${filter}"`);
  }
  if (value !== undefined) return value;
  throw new AegisError("RENDER_VALUE", `RENDER ${path}: there is no ${source[1]} ${name}`, {
    hint: source[1] === "secret" ? `declare SECRET ${name}, or give | default ""` : `set it with -e ${name}=...`,
  });
}

/** At the bars that are not within quotes. */
const splitPipes = (body: string): readonly string[] =>
  [...body.matchAll(/(?:"(?:[^"\\]|\\.)*"|[^"|])+/g)].map((match) => match[0].trim());

const unquote = (text: string): string => text.slice(1, -1).replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c));

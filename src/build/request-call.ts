/** `--call` and `--check`: what to do with the Dockerfile instead of building it. */
import { parseBoolean } from "../support/booleans.js";
import { AegisError } from "../support/errors.js";
import type { EvaluationMethod } from "./evaluate.js";

export interface BuildCall {
  readonly method: EvaluationMethod;
  readonly json: boolean;
  /** Findings don't make the command fail. */
  readonly ignoreStatus: boolean;
}

const methods: Readonly<Record<string, EvaluationMethod>> = {
  check: "check",
  lint: "check",
  outline: "outline",
  targets: "targets",
};

/** undefined: build. @throws AegisError USAGE */
export function buildCall(word: string | undefined): BuildCall | undefined {
  if (word === undefined) return undefined;
  const [name = "", ...fields] = word.split(",");
  const options = { json: false, ignoreStatus: false };
  for (const field of fields) {
    const [key, value = "true"] = field.split("=", 2);
    const truth = parseBoolean(value.toLowerCase());
    if (key === "format" && (value === "json" || value === "text")) options.json = value === "json";
    else if (key === "ignorestatus" && truth !== undefined) options.ignoreStatus = truth;
    else throw usage(`--call ${name}: "${field}" is not a field of it`);
  }
  if (name === "build") return undefined;
  const method = methods[name];
  if (method === undefined) throw usage(`--call can't be "${name}"`);
  return { method, ...options };
}

const usage = (message: string) =>
  new AegisError("USAGE", message, {
    hint: "write --call=check, outline or targets, with ,format=json and ,ignorestatus=true as wanted",
  });

/** All suites by name; each has a recording of that name. */
import type { ConformanceCase } from "../lib/case.js";
import { contexts } from "./contexts.js";
import { files } from "./files.js";
import { heredocs } from "./heredocs.js";
import { ignore, wildcard } from "./ignore.js";
import { language } from "./language.js";
import { layers } from "./layers.js";
import { lint } from "./lint.js";
import { run } from "./run.js";
import { scopes } from "./scopes.js";
import { settings } from "./settings.js";
import { words } from "./words.js";

export const suites: Readonly<Record<string, readonly ConformanceCase[]>> = {
  words,
  language,
  ignore,
  wildcard,
  lint,
  files,
  run,
  layers,
  heredocs,
  settings,
  scopes,
  contexts,
};

/** Those that are built; the others are only checked or matched. */
export const builtSuites = Object.fromEntries(
  Object.entries(suites).filter(([, cases]) => !cases.some((item) => item.check)),
);

/** Where aegis does something else on purpose. */
export const decided: Readonly<Record<string, string>> = {
  "COPY [b-a]": "a reversed range matches nothing, as in filepath.Match; the reference fails in rewriting it",
  "an exception and the directory again":
    "both have the files, which is what is asked here; the reference has lost what was in them",
  "time of a parent after a change of content":
    "a directory's new time alone is in no layer of either, and the next step sees layers; the reference's sees what it wrote itself",
  "a named directory is a base":
    "the layer of a context has a line of history in its place; the reference adds one at the end, about the last step",
  "a named directory is a base under its whole name":
    "the layer of a context has a line of history in its place; the reference adds one at the end, about the last step",
  "a named directory is a base for more":
    "the layer of a context has a line of history in its place; the reference adds one at the end, about the last step",
  "a tag is part of a context's name":
    "the layer of a context has a line of history in its place; the reference adds one at the end, about the last step",
  "a named directory is a base of two stages":
    "the layer of a context has a line of history in its place; the reference adds one at the end, about the last step",
  "a context's name with its registry":
    "the layer of a context has a line of history in its place; the reference adds one at the end, about the last step",
  "a context stands in for a stage":
    "the reference can not export a stage that a context stands in for: its config lacks an architecture",
  "a context stands in for the target":
    "the reference can not export a stage that a context stands in for: its config lacks an architecture",
  "a context that is a file": "a path is cleaned before it is looked at",
};

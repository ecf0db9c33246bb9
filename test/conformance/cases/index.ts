/** All suites by name; each has a recording of that name. */
import type { ConformanceCase } from "../lib/case.js";
import { contexts } from "./contexts.js";
import { copies } from "./copies.js";
import { corners } from "./corners.js";
import { files } from "./files.js";
import { heredocs } from "./heredocs.js";
import { ignore, wildcard } from "./ignore.js";
import { language } from "./language.js";
import { layers } from "./layers.js";
import { lint } from "./lint.js";
import { run } from "./run.js";
import { scopes } from "./scopes.js";
import { settings } from "./settings.js";
import { special } from "./special.js";
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
  corners,
  copies,
  special,
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
  "a context stands in for a stage":
    "the reference can not export a stage that a context stands in for: its config lacks an architecture",
  "a context stands in for the target":
    "the reference can not export a stage that a context stands in for: its config lacks an architecture",
  "a context that is a file": "a path is cleaned before it is looked at",
};

/** All suites by name; each has a recording of that name. */
import type { ConformanceCase } from "../lib/case.js";
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
};

/** Those that are built; the others are only checked or matched. */
export const builtSuites = Object.fromEntries(
  Object.entries(suites).filter(([, cases]) => !cases.some((item) => item.check)),
);

/** Where aegis does something else on purpose. */
export const decided: Readonly<Record<string, string>> = {
  "COPY [b-a]": "a reversed range matches nothing, as in filepath.Match; the reference fails in rewriting it",
  "ADD of an archive that climbs": "dots that climb stay in the tree; the reference refuses the archive",
  "a third name for a linked file in the next step": "all names stay one file; the reference's layer makes them two",
  "time of a parent after a change of content":
    "a directory's new time alone is in no layer of either, and the next step sees layers; the reference's sees what it wrote itself",
  "a hard link to a file below": "both names stay one file; the reference's layer makes them two",
};

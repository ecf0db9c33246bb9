/** All suites by name; each has a recording of that name. */
import type { ConformanceCase } from "../lib/case.js";
import { files } from "./files.js";
import { ignore, wildcard } from "./ignore.js";
import { language } from "./language.js";
import { lint } from "./lint.js";
import { run } from "./run.js";
import { words } from "./words.js";

export const suites: Readonly<Record<string, readonly ConformanceCase[]>> = {
  words,
  language,
  ignore,
  wildcard,
  lint,
  files,
  run,
};

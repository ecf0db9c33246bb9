import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { suites } from "../conformance/cases/index.js";
import { type AegisBuilder, aegisBuilder } from "../conformance/lib/aegis.js";
import { readBuilds } from "../conformance/lib/recordings.js";

/** Where aegis does something else on purpose. */
const decided: Readonly<Record<string, string>> = {
  "COPY [b-a]": "a reversed range matches nothing, as in filepath.Match; the reference fails in rewriting it",
  "ADD of an archive that climbs": "dots that climb stay in the tree; the reference refuses the archive",
  "a hard link to a file below": "both names stay one file; the reference's layer makes them two",
};

let work: string;
let builder: AegisBuilder;

beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), "aegis-conformance-"));
  builder = await aegisBuilder(work);
});
afterAll(() => rm(work, { recursive: true, force: true }));

describe.each(["language", "words", "wildcard", "files", "run"])(
  "images are those of the reference builder: %s",
  (suite) => {
    const recording = readBuilds(suite);
    test.each(suites[suite]!.filter((item) => !(item.name in decided)))("$name", async (item) => {
      const { input: _, ...expected } = recording[item.name]!;
      const actual = await builder.build(item, "container");
      if ("error" in expected || "error" in actual) {
        // Which words tell of a failure is each builder's own; that there is one is not.
        expect("error" in actual ? "fails" : "builds", `${JSON.stringify(expected)} ${JSON.stringify(actual)}`).toBe(
          "error" in expected ? "fails" : "builds",
        );
        return;
      }
      expect(actual).toEqual(expected);
    });
  },
);

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtSuites, decided } from "../conformance/cases/index.js";
import { type AegisBuilder, aegisBuilder } from "../conformance/lib/aegis.js";
import { differences } from "../conformance/lib/compare.js";
import { readBuilds } from "../conformance/lib/recordings.js";

let work: string;
let builder: AegisBuilder;

beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), "aegis-conformance-"));
  builder = await aegisBuilder(work, "container");
});
afterAll(() => rm(work, { recursive: true, force: true }));

describe.each(Object.keys(builtSuites))("images are those of the reference builder: %s", (suite) => {
  const recording = readBuilds(suite);
  const cases = builtSuites[suite]!.filter((item) => !(item.name in decided));
  test.concurrent.each(cases)("$name", async (item) => {
    expect(differences(recording[item.name]!, await builder.build(item, "container"))).toEqual([]);
  });
});

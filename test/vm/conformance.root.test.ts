import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtSuites, decided } from "../conformance/cases/index.js";
import { type AegisBuilder, aegisBuilder } from "../conformance/lib/aegis.js";
import { runsCommands } from "../conformance/lib/case.js";
import { differences } from "../conformance/lib/compare.js";
import { readBuilds } from "../conformance/lib/recordings.js";

let work: string;
let builder: AegisBuilder;

beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), "aegis-conformance-vm-"));
  builder = await aegisBuilder(work, "vm");
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** Machines are emulated where this runs: the others are built in them with AEGIS_CONFORMANCE=all. */
const everyTime = ["run", "layers"];

const running = Object.entries(builtSuites)
  .filter(([suite]) => process.env.AEGIS_CONFORMANCE === "all" || everyTime.includes(suite))
  .map(([suite, cases]) => [suite, cases.filter((item) => runsCommands(item) && !(item.name in decided))] as const);

describe.each(running.filter(([, cases]) => cases.length > 0))(
  "RUN in a machine makes the images of the reference builder: %s",
  (suite, cases) => {
    const recording = readBuilds(suite);
    test.concurrent.each(cases)("$name", async (item) => {
      expect(differences(recording[item.name]!, await builder.build(item, "vm"))).toEqual([]);
    });
  },
);

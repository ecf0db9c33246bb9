import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { openHome } from "../../../src/support/home.js";
import { unpackedParts } from "../../../src/vmm/parts/locate.js";
import { scratchDirectory } from "../../helpers/scratch.js";

const scratch = scratchDirectory();
afterEach(() => {
  vi.unstubAllEnvs();
});

function record(version: string, ...names: string[]): string {
  const root = scratch(...names);
  mkdirSync(root, { recursive: true });
  const part = { version, suite: "s", sha256: "", directory: "d" };
  writeFileSync(path.join(root, "parts.json"), JSON.stringify({ gvproxy: part }));
  return root;
}

test("parts of the home come before those that AEGIS_DEPS names, and nothing else is looked at then", () => {
  const shared = record("2", "shared");
  const own = record("1", "home", "deps");
  vi.stubEnv("AEGIS_DEPS", shared);
  const found = unpackedParts(openHome({ AEGIS_HOME: scratch("home") }));
  expect(found.map(({ root, parts }) => [root, parts.gvproxy?.version])).toEqual([
    [own, "1"],
    [shared, "2"],
  ]);
});

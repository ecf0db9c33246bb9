// Shows how aegis's images differ from the recorded ones, and fails when they do:
//   node test/conformance/compare.mjs [--isolation container|vm] [--runs] [SUITE...]
// --runs takes only the cases that have a RUN. Builds with dist/ (`npm run build` makes it); needs root.
import { parseArgs } from "node:util";
import { runBundled } from "./bundle.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    isolation: { type: "string", default: "container" },
    runs: { type: "boolean", default: false },
  },
});
await runBundled("lib/compare.ts", async ({ compare }) => {
  const differing = await compare({ only: positionals, isolation: values.isolation, runs: values.runs });
  if (differing > 0) process.exitCode = 1;
});

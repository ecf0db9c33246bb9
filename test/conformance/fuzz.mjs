// Fuzzes the Dockerfile reader: node test/conformance/fuzz.mjs [SECONDS [SEED]]. Ends with 0 and a line of counts, or names seed and input.
import { runBundled } from "./bundle.mjs";

const [seconds = "60", seed = String(Date.now() % 2 ** 31)] = process.argv.slice(2);
await runBundled("lib/fuzz.ts", ({ fuzz }) => {
  const { runs, accepted, slowest } = fuzz(Number(seed), { until: Date.now() + Number(seconds) * 1000 });
  console.log(`${runs} inputs, ${accepted} of them accepted, the slowest took ${slowest.toFixed(0)} ms (seed ${seed})`);
});

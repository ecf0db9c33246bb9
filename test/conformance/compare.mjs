// Shows how aegis's images differ from the recorded ones: node test/conformance/compare.mjs [--vm] [SUITE...]. Needs root.
import { runBundled } from "./bundle.mjs";

const args = process.argv.slice(2);
const suites = args.filter((argument) => !argument.startsWith("--"));
await runBundled("lib/compare.ts", ({ compare }) => compare(suites, args.includes("--vm") ? "vm" : "container"));

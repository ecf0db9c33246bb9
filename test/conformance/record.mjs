// Records what the reference builder makes of the conformance cases: DOCKER=docker node test/conformance/record.mjs [--all] [SUITE...]
// Needs root (owners of files) and a docker with buildx whose daemon stores images in containerd. Results go to recorded/; cases
// that have not changed keep theirs unless --all is given.
import path from "node:path";
import { here, runBundled } from "./bundle.mjs";

await runBundled("lib/record.ts", ({ record }) => record(path.join(here, "recorded"), process.argv.slice(2)));

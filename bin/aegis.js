#!/usr/bin/env node
import { existsSync } from "node:fs";

const main = new URL("../dist/main.js", import.meta.url);
if (!existsSync(main)) {
  process.stderr.write("aegis: dist/ is missing; run `npm run build` in the checkout first\n");
  process.exit(125);
}
const { run } = await import(main.href);
await run(process.argv.slice(2));

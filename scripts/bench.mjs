// Measures aegis against a peer, both in the same run on the same bytes. A row is a file in test/bench/rows.
//
//   npm run bench                        every row at sizes for a few minutes
//   npm run bench -- layers delta        only these rows
//   npm run bench -- --heavy             the large sizes too (needs some GB of disk)
//   AEGIS_BENCH_TREE=DIR npm run bench -- layers      a real tree besides the synthetic one
//   npm run bench -- --repeat 5          best of five instead of three
//   npm run bench -- --json FILE         the results as JSON into FILE (`-`: standard output, instead of the table)
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { buildThreads } from "./build-threads.mjs";
import { bundle } from "./bundle.mjs";

const root = new URL("..", import.meta.url).pathname;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    heavy: { type: "boolean", default: false },
    repeat: { type: "string", default: "3" },
    json: { type: "string" },
    list: { type: "boolean", default: false },
  },
});

const rowFiles = (await readdir(`${root}test/bench/rows`)).filter((name) => name.endsWith(".ts")).sort();
const known = rowFiles.map((name) => name.slice(0, -".ts".length));
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0 || !/^[1-9]\d*$/.test(values.repeat)) {
  console.error(`bench: no such row: ${unknown.join(", ") || values.repeat}; there are ${known.join(", ")}`);
  process.exit(125);
}
if (values.list) {
  console.log(known.join("\n"));
  process.exit(0);
}

const scratch = await mkdtemp(path.join(process.env.AEGIS_BENCH_DIR ?? tmpdir(), "aegis-bench-"));
// Beside node_modules, so that the bundles find the packages they leave external.
const bundles = await mkdtemp(`${root}node_modules/.bench-`);
let failures = 0;
try {
  execFileSync(process.execPath, [`${root}scripts/build.mjs`], { stdio: ["ignore", "ignore", "inherit"] });
  await bundle({
    entryPoints: ["test/bench/task.ts", ...rowFiles.map((name) => `test/bench/rows/${name}`)],
    outdir: bundles,
    outbase: "test/bench",
    outExtension: { ".js": ".mjs" },
  });
  await buildThreads(bundles);
  const bench = { root, scratch, heavy: values.heavy, repeat: Number(values.repeat), task: `${bundles}/task.mjs` };
  const results = [];
  for (const name of known) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const row = (await import(pathToFileURL(`${bundles}/rows/${name}.mjs`).href)).default;
    process.stderr.write(`bench: ${name}\n`);
    try {
      results.push(...(await row(bench)).map((line) => ({ row: name, ...line })));
    } catch (error) {
      failures++;
      results.push({ row: name, what: "failed", note: String(error?.message ?? error).split("\n")[0] });
      process.stderr.write(`${error?.stack ?? error}\n`);
    }
  }
  const machine = {
    cpus: cpus().length,
    model: cpus()[0]?.model,
    memory: totalmem(),
    node: process.version,
    date: new Date().toISOString(),
  };
  const json = `${JSON.stringify({ machine, results }, null, 2)}\n`;
  if (values.json === "-") process.stdout.write(json);
  else {
    if (values.json) await writeFile(values.json, json);
    process.stdout.write(table(results));
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
  await rm(bundles, { recursive: true, force: true });
}
if (failures > 0) process.exitCode = 1;

/** Ratios are ours to the peer's, so below 1 is faster or smaller. */
function table(/** @type {any[]} */ results) {
  const head = ["row", "what", "aegis", "peer", "ratio", "goal", "note"];
  const rows = results.map((it) => {
    const ratio = it.ours && it.peer ? (it.ours.value / it.peer.value).toFixed(2) : "";
    const goal = it.goal ? `${it.goal.text}: ${it.goal.met ? "met" : "missed"}` : "";
    const peer = it.peer ? `${amount(it.peer)} ${it.peer.name}` : "";
    return [it.row, it.what, it.ours ? amount(it.ours) : "", peer, ratio, goal, it.note ?? ""];
  });
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((cells) => cells[i].length)));
  const line = (/** @type {string[]} */ cells) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]))
      .join("  ")
      .trimEnd();
  return `${[line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n")}\n`;
}

function amount(/** @type {{value: number, unit: string}} */ { value, unit }) {
  if (unit === "bytes") return `${(value / 1e6).toPrecision(3)} MB`;
  return value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toPrecision(3)} ms`;
}

/** Start-up of the command line, against that of Node itself. */
import path from "node:path";
import { type BenchLine, type BenchRow, ms, timeShell } from "../bench.js";

const rounds = 10;

const row: BenchRow = async (bench) => {
  const aegis = path.join(bench.root, "bin/aegis.js");
  const env = { AEGIS_HOME: path.join(bench.scratch, "home") };
  const lines: BenchLine[] = [];
  for (const command of ["version", "--help"]) {
    let ours = Number.POSITIVE_INFINITY;
    let node = Number.POSITIVE_INFINITY;
    for (let round = 0; round < rounds; round++) {
      ours = Math.min(ours, await timeShell(`${process.execPath} ${aegis} ${command}`, env));
      node = Math.min(node, await timeShell(`${process.execPath} -e 0`, env));
    }
    lines.push({ what: `aegis ${command}`, ours: ms(ours), peer: { ...ms(node), name: "node -e 0" } });
  }
  return lines;
};

export default row;

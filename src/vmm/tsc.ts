/** The rate of this host's time stamp counter, measured once per process. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { helper } from "./parts/locate.js";

let measured: Promise<number | undefined> | undefined;

/** kHz, or undefined where there is no such counter. */
export function tscKhz(): Promise<number | undefined> {
  measured ??= process.arch === "x64" ? measure() : Promise.resolve(undefined);
  return measured;
}

async function measure(): Promise<number | undefined> {
  const { stdout } = await promisify(execFile)(helper("aegis-guard"), ["tsc-khz"]);
  const khz = Number(stdout);
  return Number.isSafeInteger(khz) && khz > 0 ? khz : undefined;
}

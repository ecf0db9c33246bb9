/** What changed costs, not what the image weighs: a one-file layer on bases of several sizes, and a new instance's disk. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { type Bench, type BenchLine, type BenchRow, bytes, ms, runTask, shell, timeShell } from "../bench.js";

const gibibyte = 2 ** 30;

const row: BenchRow = async (bench) => {
  const sizes = bench.heavy ? [100 << 20, gibibyte, 4 * gibibyte] : [100 << 20, gibibyte];
  const lines: BenchLine[] = [];
  for (const size of sizes) {
    const home = path.join(bench.scratch, "home");
    await mkdir(home, { recursive: true });
    const base = path.join(bench.scratch, "base.json");
    await runTask(bench, "store", home, base, String(size), String(Math.round(size / 20_000)), "1", "none");
    const first = await runTask(bench, "assemble", home, base);
    let best = Number.POSITIVE_INFINITY;
    let allocated = 0;
    for (let round = 0; round < bench.repeat; round++) {
      const changed = path.join(bench.scratch, `changed-${round}.json`);
      await runTask(bench, "change", home, base, changed, `round ${round} of ${size}`);
      await shell("sync");
      const { milliseconds, facts } = await runTask(bench, "assemble", home, changed);
      if (facts.disks !== 2) throw new Error("the change did not become a delta disk");
      best = Math.min(best, milliseconds);
      allocated = facts.allocated!;
    }
    lines.push({
      what: `one changed file on ${size < gibibyte ? `${size >> 20} MB` : `${size / gibibyte} GB`} to bootable`,
      ours: ms(best),
      peer: { ...ms(first.milliseconds), name: "the base, assembled once" },
      goal: { text: "under 200 ms", met: best < 200 },
      note: `${Math.round(allocated / 1000)} kB written`,
    });
    lines.push({
      what: `peak memory, ${size < gibibyte ? `${size >> 20} MB` : `${size / gibibyte} GB`} tar to ext4`,
      ours: bytes(first.peakBytes),
      goal: { text: "under 256 MiB", met: first.peakBytes < 256 << 20 },
    });
    if (size === gibibyte) lines.push(...(await instanceLines(bench, home, base)));
    await shell(`rm -rf ${home}`);
  }
  return lines;
};

async function instanceLines(bench: Bench, home: string, base: string): Promise<BenchLine[]> {
  const disk = path.join(bench.scratch, "instance.ext4");
  let best = Number.POSITIVE_INFINITY;
  let peer = Number.POSITIVE_INFINITY;
  let allocated = 0;
  for (let round = 0; round < bench.repeat; round++) {
    const { milliseconds, facts } = await runTask(bench, "writable", home, base, String(20 * gibibyte));
    best = Math.min(best, milliseconds);
    allocated = facts.allocated!;
    peer = Math.min(peer, await timeShell(`rm -f ${disk}; mke2fs -q -t ext4 ${disk} 20g && sync ${disk}`));
  }
  return [
    {
      what: "new instance of a 1 GB image: its disk of 20 GB",
      ours: ms(best),
      peer: { ...ms(peer), name: "mke2fs 20g" },
      goal: { text: "under 20 ms", met: best < 20 },
    },
    {
      what: "new instance of a 1 GB image: bytes on disk",
      ours: bytes(allocated),
      goal: { text: "under 2 MB", met: allocated < 2e6 },
    },
  ];
}

export default row;

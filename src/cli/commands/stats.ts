import { setTimeout as sleep } from "node:timers/promises";
import { Command, Option } from "clipanion";
import { instanceStats } from "../../instance/lifecycle.js";
import { findInstance, listInstances } from "../../instance/store.js";
import type { Instance } from "../../instance/types.js";
import { formatSize } from "../../support/sizes.js";
import { AegisCommand } from "../command.js";
import { renderTable, type Table } from "../render/table.js";

export default class StatsCommand extends AegisCommand {
  static override paths = [["stats"]];
  static override usage = Command.Usage({
    details: "What running instances use: measured in the guest, and the memory of the machine on the host.",
  });

  names = Option.Rest();
  noStream = Option.Boolean("--no-stream", false, { description: "print once (also when the output is no terminal)" });

  override async execute() {
    const live = Boolean(process.stdout.isTTY) && !this.noStream && !this.json;
    for (;;) {
      const rows = await this.#measure();
      if (!live) {
        this.printTable(rows, table);
        return;
      }
      this.context.stdout.write(`\u001b[H\u001b[2J${renderTable(rows, table)}\n`);
      await sleep(1000);
    }
  }

  async #measure(): Promise<readonly Row[]> {
    const instances =
      this.names.length > 0
        ? await Promise.all(this.names.map((name) => findInstance(this.home, name)))
        : (await listInstances(this.home)).filter(({ state }) => state.status === "running");
    const first = await Promise.all(instances.map((instance) => instanceStats(this.home, instance)));
    const began = performance.now();
    await sleep(500);
    return await Promise.all(
      instances.map(async (instance: Instance, i) => {
        const now = await instanceStats(this.home, instance);
        const elapsedUsec = (performance.now() - began) * 1000;
        const cpuPercent = ((now.cpuUsec - first[i]!.cpuUsec) / elapsedUsec) * 100;
        return { name: instance.config.name, cpuPercent: Math.round(cpuPercent * 10) / 10, ...now };
      }),
    );
  }
}

type Row = Awaited<ReturnType<typeof instanceStats>> & { readonly name: string; readonly cpuPercent: number };

const table: Table<Row> = {
  columns: [
    { title: "NAME", value: (row) => row.name },
    { title: "CPU %", value: (row) => `${row.cpuPercent.toFixed(1)}%` },
    { title: "MEMORY", value: (row) => `${formatSize(row.memoryUsedBytes)} / ${formatSize(row.memoryBytes)}` },
    { title: "HOST MEMORY", value: (row) => formatSize(row.hostBytes) },
    {
      title: "NET IN / OUT",
      value: (row) => `${formatSize(row.networkReceivedBytes)} / ${formatSize(row.networkSentBytes)}`,
    },
    {
      title: "DISK READ / WRITTEN",
      value: (row) => `${formatSize(row.diskReadBytes)} / ${formatSize(row.diskWrittenBytes)}`,
    },
    { title: "CONNS", value: (row) => String(row.connections) },
    { title: "PIDS", value: (row) => String(row.processes) },
  ],
};

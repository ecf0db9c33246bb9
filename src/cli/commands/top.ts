import { Command, Option } from "clipanion";
import { type GuestProcessRow, guestProcesses } from "../../instance/processes.js";
import { findInstance } from "../../instance/store.js";
import { formatSize } from "../../support/sizes.js";
import { AegisCommand } from "../command.js";
import type { Table } from "../render/table.js";

export default class TopCommand extends AegisCommand {
  static override paths = [["top"]];
  static override usage = Command.Usage({
    details: "Read from the guest's /proc; the guest's kernel threads are left out.",
  });

  name = Option.String({ required: true });

  override async execute() {
    const { config } = await findInstance(this.home, this.name);
    const rows = await guestProcesses(this.home, config);
    // Kernel threads are children of kthreadd, process 2.
    this.printTable(
      rows.filter((row) => row.pid !== 2 && row.ppid !== 2),
      table,
    );
  }
}

const table: Table<GuestProcessRow> = {
  columns: [
    { title: "PID", value: (row) => String(row.pid) },
    { title: "PPID", value: (row) => String(row.ppid) },
    { title: "UID", value: (row) => String(row.uid) },
    { title: "STATE", value: (row) => row.state },
    { title: "RSS", value: (row) => formatSize(row.residentBytes) },
    { title: "COMMAND", value: (row) => row.command },
  ],
};

import { Command, Option } from "clipanion";
import { formatSize } from "../../../support/sizes.js";
import { AegisCommand } from "../../command.js";
import { measureHome } from "../../disk-usage.js";

export default class SystemDfCommand extends AegisCommand {
  static override paths = [["system", "df"]];
  static override usage = Command.Usage({
    details: `
      SIZE is what is allocated on disk; layers that several images share count once. RECLAIMABLE is what "prune -a" would
      free (images that no instance uses, their disks, the build cache), and instances that are down. With -v, SHARED is
      what other images have as well.
    `,
  });

  verbose = Option.Boolean("-v,--verbose", false, { description: "show each image as well" });

  override async execute() {
    const usage = await measureHome(this.home);
    if (this.json) {
      this.print(usage, () => "");
      return;
    }
    this.printTable(usage.kinds, {
      columns: [
        { title: "TYPE", value: (row) => row.type },
        { title: "TOTAL", value: (row) => String(row.total) },
        { title: "ACTIVE", value: (row) => String(row.active) },
        { title: "SIZE", value: (row) => formatSize(row.size) },
        { title: "RECLAIMABLE", value: (row) => formatSize(row.reclaimable) },
      ],
    });
    if (!this.verbose) return;
    this.note("");
    this.printTable(usage.images, {
      columns: [
        { title: "IMAGE", value: (row) => row.name },
        { title: "SIZE", value: (row) => formatSize(row.size) },
        { title: "SHARED", value: (row) => formatSize(row.shared) },
        { title: "UNIQUE", value: (row) => formatSize(row.size - row.shared) },
      ],
    });
  }
}

import { Command, Option } from "clipanion";
import { parseSize } from "../../support/sizes.js";
import { AegisCommand } from "../command.js";
import { withRootOf } from "../export-source.js";
import { refuseTerminal, withOutput } from "../output.js";

export default class ExportCommand extends AegisCommand {
  static override paths = [["export"]];
  static override usage = Command.Usage({
    details: `Writes the files of an instance, or of an image, as a tar; or with --disk as one ext4 filesystem, which any machine can
      have as its root (root=/dev/vda). A running instance stands still meanwhile. Volumes are no part of it.`,
    examples: [
      ["The files of an instance", "$0 export -o web.tar web"],
      ["A disk for another virtual machine monitor", "$0 export --disk root.ext4 --size 10g web"],
    ],
  });

  source = Option.String({ required: true });
  output = Option.String("-o,--output", { description: "file to write instead of standard output" });
  disk = Option.String("--disk", { description: "write an ext4 filesystem to this file instead of a tar" });
  size = Option.String("--size", { description: "size of the filesystem, e.g. 10g; what the files need unless told" });

  override async execute() {
    const { disk } = this;
    if (disk !== undefined) {
      const sizeBytes = this.size === undefined ? undefined : parseSize(this.size);
      const { exportMergedDisk } = await import("../../rootfs/export.js");
      await withRootOf(this.home, this.source, ({ disks, writable }) =>
        exportMergedDisk(disks, disk, { sizeBytes, writable }),
      );
      return;
    }
    refuseTerminal(this.output, this.context.stdout);
    const [{ exportTar }, { openTreeView }] = await Promise.all([
      import("../../rootfs/export-tar.js"),
      import("../../rootfs/tree-view.js"),
    ]);
    await withRootOf(this.home, this.source, async ({ disks, writable }) => {
      await using view = await openTreeView(disks, writable);
      await withOutput(this.output, this.context.stdout, (put) => exportTar(view, put));
    });
  }
}

import { Option } from "clipanion";
import { listVolumes } from "../../../instance/volume-store.js";
import { formatSize } from "../../../support/sizes.js";
import { AegisCommand } from "../../command.js";

export default class VolumeListCommand extends AegisCommand {
  static override paths = [["volume", "ls"]];

  quiet = Option.Boolean("-q,--quiet", false, { description: "print only names" });

  override async execute() {
    const volumes = await listVolumes(this.home);
    if (this.quiet && !this.json) {
      this.print(volumes, (all) => all.map(({ name }) => name).join("\n"));
      return;
    }
    this.printTable(volumes, {
      columns: [
        { title: "NAME", value: (volume) => volume.name },
        { title: "SIZE", value: (volume) => formatSize(volume.size) },
        { title: "USED BY", value: (volume) => volume.usedBy.join(", ") },
      ],
    });
  }
}

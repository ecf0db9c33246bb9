import { Command, Option } from "clipanion";
import { pruneVolumes } from "../../../instance/volume-store.js";
import { formatSize } from "../../../support/sizes.js";
import { AegisCommand } from "../../command.js";
import { confirm } from "../../input.js";

export default class VolumePruneCommand extends AegisCommand {
  static override paths = [["volume", "prune"]];
  static override usage = Command.Usage({ details: "Removes all volumes that no instance mounts, running or not." });

  force = Option.Boolean("-f,--force", false, { description: "don't ask" });

  override async execute() {
    const question = "This removes all volumes that no instance mounts, with their content. Go on?";
    if (!this.force && !(await confirm(question))) return;
    const volumes = await pruneVolumes(this.home);
    const reclaimed = volumes.reduce((sum, { size }) => sum + size, 0);
    this.print({ volumes: volumes.map(({ name }) => name), reclaimed }, (it) =>
      [...it.volumes.map((name) => `Deleted: ${name}`), `Reclaimed: ${formatSize(it.reclaimed)}`].join("\n"),
    );
  }
}

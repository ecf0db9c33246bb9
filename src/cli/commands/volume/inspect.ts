import { Command, Option } from "clipanion";
import { findVolume } from "../../../instance/volume-store.js";
import { AegisCommand } from "../../command.js";

export default class VolumeInspectCommand extends AegisCommand {
  static override paths = [["volume", "inspect"]];
  static override usage = Command.Usage({ details: "Prints JSON; sizes are bytes." });

  names = Option.Rest({ required: 1 });

  override async execute() {
    const volumes = await Promise.all(this.names.map((name) => findVolume(this.home, name)));
    this.print(volumes, (all) => JSON.stringify(all, null, 2));
  }
}

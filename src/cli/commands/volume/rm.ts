import { Command, Option } from "clipanion";
import { removeVolume } from "../../../instance/volume-store.js";
import { AegisCommand } from "../../command.js";

export default class VolumeRemoveCommand extends AegisCommand {
  static override paths = [["volume", "rm"]];
  static override usage = Command.Usage({
    details: "Removes volumes with their content, unless an instance mounts them, running or not.",
  });

  names = Option.Rest({ required: 1 });

  override async execute() {
    for (const name of this.names) await removeVolume(this.home, name);
    this.print(this.names, (names) => names.join("\n"));
  }
}

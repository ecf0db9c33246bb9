import { Command, Option } from "clipanion";
import { createVolume } from "../../../instance/volume-store.js";
import { AegisCommand } from "../../command.js";

export default class VolumeCreateCommand extends AegisCommand {
  static override paths = [["volume", "create"]];
  static override usage = Command.Usage({
    details: `A volume that exists stays as it is. "run -v NAME:/path" makes a missing volume itself; its disk is made when an
      instance first mounts it.`,
    examples: [["For data that outlives instances", "$0 volume create data"]],
  });

  name = Option.String({ required: true });

  override async execute() {
    const created = await createVolume(this.home, this.name);
    this.print({ name: this.name, created }, ({ name }) => name);
  }
}

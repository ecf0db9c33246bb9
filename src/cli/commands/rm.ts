import { Command, Option } from "clipanion";
import { removeInstance } from "../../instance/lifecycle.js";
import { AegisCommand } from "../command.js";

export default class RemoveCommand extends AegisCommand {
  static override paths = [["rm"]];
  static override usage = Command.Usage({
    details: "Removes an instance's disk, anonymous volumes, workspace of its own, state and logs. Named volumes stay.",
  });

  names = Option.Rest({ required: 1 });
  force = Option.Boolean("-f,--force", false, { description: "end it first when it is running" });
  volumes = Option.Boolean("-v,--volumes", false, { hidden: true });

  override async execute() {
    for (const name of this.names) await removeInstance(this.home, name, this.force);
    this.print(this.names, (names) => names.join("\n"));
  }
}

import { Option } from "clipanion";
import { pauseInstance } from "../../instance/lifecycle.js";
import { AegisCommand } from "../command.js";

export default class PauseCommand extends AegisCommand {
  static override paths = [["pause"]];

  names = Option.Rest({ required: 1 });

  override async execute() {
    for (const name of this.names) await pauseInstance(this.home, name);
    this.print(this.names, (names) => names.join("\n"));
  }
}

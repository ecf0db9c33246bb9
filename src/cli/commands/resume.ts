import { Option } from "clipanion";
import { resumeInstance } from "../../instance/lifecycle.js";
import { AegisCommand } from "../command.js";

export default class ResumeCommand extends AegisCommand {
  static override paths = [["resume"]];

  names = Option.Rest({ required: 1 });

  override async execute() {
    for (const name of this.names) await resumeInstance(this.home, name);
    this.print(this.names, (names) => names.join("\n"));
  }
}

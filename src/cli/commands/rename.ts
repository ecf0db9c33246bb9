import { Option } from "clipanion";
import { renameInstance } from "../../instance/lifecycle.js";
import { AegisCommand } from "../command.js";

export default class RenameCommand extends AegisCommand {
  static override paths = [["rename"]];

  name = Option.String({ required: true });
  newName = Option.String({ required: true });

  override async execute() {
    await renameInstance(this.home, this.name, this.newName);
    this.print({ name: this.newName }, (it) => it.name);
  }
}

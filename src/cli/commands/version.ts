import { Command } from "clipanion";
import { AegisCommand } from "../command.js";
import { version } from "../version.js";

export default class VersionCommand extends AegisCommand {
  static override paths = [["version"], ["--version"], ["-v"]];
  static override usage = Command.Usage({ category: "System", description: "Print the version" });

  override async execute() {
    this.print({ version }, (it) => `aegis ${it.version}`);
  }
}

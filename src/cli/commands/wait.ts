import { Option } from "clipanion";
import { waitForExit } from "../../instance/lifecycle.js";
import { AegisCommand } from "../command.js";

export default class WaitCommand extends AegisCommand {
  static override paths = [["wait"]];

  names = Option.Rest({ required: 1 });

  override async execute() {
    const ended = await Promise.all(this.names.map((name) => waitForExit(this.home, name)));
    const rows = ended.map(({ config, state }) => ({ name: config.name, exitCode: state.exitCode ?? 0 }));
    this.print(rows, (all) => all.map(({ exitCode }) => exitCode).join("\n"));
  }
}

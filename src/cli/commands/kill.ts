import { Option } from "clipanion";
import { killInstance } from "../../instance/lifecycle.js";
import { parseSignal } from "../../instance/signals.js";
import { AegisCommand } from "../command.js";

export default class KillCommand extends AegisCommand {
  static override paths = [["kill"]];

  names = Option.Rest({ required: 1 });
  signal = Option.String("-s,--signal", "KILL", { description: "signal to send (default KILL)" });

  override async execute() {
    const signal = parseSignal(this.signal);
    for (const name of this.names) await killInstance(this.home, name, signal);
    this.print(this.names, (names) => names.join("\n"));
  }
}

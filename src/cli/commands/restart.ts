import { Option } from "clipanion";
import { stopInstance } from "../../instance/lifecycle.js";
import { startInstance } from "../../instance/start.js";
import { parseDuration } from "../../support/durations.js";
import { AegisCommand } from "../command.js";
import { selfCommand } from "../self.js";

export default class RestartCommand extends AegisCommand {
  static override paths = [["restart"]];

  names = Option.Rest({ required: 1 });
  time = Option.String("-t,--time", { description: "seconds (or a duration) to wait before SIGKILL" });

  override async execute() {
    const graceMs = this.time === undefined ? undefined : parseDuration(this.time, "s");
    for (const name of this.names) {
      await stopInstance(this.home, name, { graceMs });
      const started = await startInstance(this.home, name, { self: selfCommand(), env: process.env, attach: false });
      try {
        await started?.running;
      } finally {
        started?.release();
      }
    }
    this.print(this.names, (names) => names.join("\n"));
  }
}

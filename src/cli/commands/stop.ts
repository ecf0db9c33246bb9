import { Command, Option } from "clipanion";
import { stopInstance } from "../../instance/lifecycle.js";
import { parseSignal } from "../../instance/signals.js";
import { parseDuration } from "../../support/durations.js";
import { AegisCommand } from "../command.js";

export default class StopCommand extends AegisCommand {
  static override paths = [["stop"]];
  static override usage = Command.Usage({
    details: `Asks the app to end with its stop signal, waits, and then ends it; the guest unmounts its disks and powers off.`,
    examples: [["Waiting up to 30 s", "$0 stop --time 30 web"]],
  });

  names = Option.Rest({ required: 1 });
  time = Option.String("-t,--time", { description: "seconds (or a duration) to wait before SIGKILL" });
  signal = Option.String("-s,--signal", { description: "signal that asks the app to end" });

  override async execute() {
    const graceMs = this.time === undefined ? undefined : parseDuration(this.time, "s");
    const signal = this.signal === undefined ? undefined : parseSignal(this.signal);
    const stopped = await Promise.all(
      this.names.map(async (name) => ({ name, stopped: await stopInstance(this.home, name, { graceMs, signal }) })),
    );
    this.print(stopped, (all) => all.map(({ name }) => name).join("\n"));
  }
}

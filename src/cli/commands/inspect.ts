import { Command, Option } from "clipanion";
import { formatRestart } from "../../instance/restart.js";
import { filesOf, findInstance } from "../../instance/store.js";
import { AegisCommand } from "../command.js";

export default class InspectCommand extends AegisCommand {
  static override paths = [["inspect"]];
  static override usage = Command.Usage({
    details: `Prints JSON. "origins" says of each setting whether it comes from a flag, the image or a default. Secrets are named,
      never shown.`,
  });

  names = Option.Rest({ required: 1 });

  override async execute() {
    const found = await Promise.all(this.names.map((name) => findInstance(this.home, name)));
    const shown = found.map(({ config, state }) => {
      const { directory, log, console: consoleLog, disk } = filesOf(this.home, config.id);
      return {
        ...config,
        restart: formatRestart(config.restart),
        state,
        files: { directory, log, console: consoleLog, disk },
      };
    });
    this.print(shown, (all) => JSON.stringify(all, null, 2));
  }
}

import { Command, Option } from "clipanion";
import { interact } from "../../instance/client.js";
import { startInstance } from "../../instance/start.js";
import { findInstance } from "../../instance/store.js";
import { AegisCommand } from "../command.js";
import { selfCommand } from "../self.js";
import { front, terminalSize } from "../terminal.js";

export default class StartCommand extends AegisCommand {
  static override paths = [["start"]];
  static override usage = Command.Usage({
    details: "The instance keeps its disk and settings. Secrets are read again from where they came from.",
    examples: [["Back to the disk from before the image changed", "$0 start --rollback web"]],
  });

  names = Option.Rest({ required: 1 });
  attach = Option.Boolean("-a,--attach", false, { description: "show its output and wait for its end (one instance)" });
  interactive = Option.Boolean("-i,--interactive", false, { description: "with --attach: pass standard input on" });
  rollback = Option.Boolean("--rollback", false, {
    description: "with the disk and settings from before the image changed",
  });

  override async execute(): Promise<number> {
    if (this.attach && this.names.length === 1) return await this.#attached(this.names[0]!);
    const rows: { name: string; started: boolean }[] = [];
    for (const name of this.names) {
      const started = await startInstance(this.home, name, this.#options(false));
      try {
        await started?.running;
      } finally {
        started?.release();
      }
      rows.push({ name, started: started !== undefined });
    }
    this.print(rows, (all) => all.map(({ name }) => name).join("\n"));
    return 0;
  }

  #options(attach: boolean) {
    return { self: selfCommand(), env: process.env, attach, rollback: this.rollback };
  }

  async #attached(name: string): Promise<number> {
    const started = await startInstance(this.home, name, this.#options(true));
    const config = started?.config ?? (await findInstance(this.home, name)).config;
    const { tty } = config.process;
    const size = tty ? terminalSize() : undefined;
    const interaction = await interact(
      this.home,
      config,
      { op: "attach", stdin: this.interactive, output: true, foreground: started !== undefined, size },
      {
        stdin: this.interactive && !(tty && process.stdin.isTTY) ? process.stdin : undefined,
        stdout: this.context.stdout,
        stderr: this.context.stderr,
      },
    );
    try {
      const end = await front(interaction, { tty, signals: true }).catch(async (error: unknown) => {
        await started?.running;
        throw error;
      });
      if (end === "detached") return 0;
      if (end.reason) this.note(`aegis: ${config.name}: ${end.reason}`);
      return end.exitCode;
    } finally {
      started?.release();
    }
  }
}

import { Command, Option } from "clipanion";
import { interact } from "../../instance/client.js";
import { findInstance } from "../../instance/store.js";
import { AegisCommand } from "../command.js";
import { front, terminalSize } from "../terminal.js";

export default class AttachCommand extends AegisCommand {
  static override paths = [["attach"]];
  static override usage = Command.Usage({
    details: `Shows what the app prints from now on and passes on what is typed, when it was run with -i. Ctrl-P Ctrl-Q goes
      away again without ending it (with -t); signals are passed on to the app.`,
  });

  name = Option.String({ required: true });
  noStdin = Option.Boolean("--no-stdin", false, { description: "only watch" });

  override async execute(): Promise<number> {
    const { config } = await findInstance(this.home, this.name);
    const { tty, openStdin } = config.process;
    const stdin = openStdin && !this.noStdin;
    const interaction = await interact(
      this.home,
      config,
      { op: "attach", stdin, output: true, foreground: false, size: tty ? terminalSize() : undefined },
      {
        stdin: stdin && !(tty && process.stdin.isTTY) ? process.stdin : undefined,
        stdout: this.context.stdout,
        stderr: this.context.stderr,
      },
    );
    const end = await front(interaction, { tty: tty && stdin, signals: true });
    return end === "detached" ? 0 : end.exitCode;
  }
}

import { Command, Option } from "clipanion";
import { interact } from "../../instance/client.js";
import { findInstance } from "../../instance/store.js";
import { AegisError } from "../../support/errors.js";
import { usageError } from "../argv.js";
import { AegisCommand } from "../command.js";
import { environmentFile, environmentOf } from "../run-options.js";
import { front, terminalSize } from "../terminal.js";

export default class ExecCommand extends AegisCommand {
  static override paths = [["exec"]];
  static override passThrough = true;
  static override usage = Command.Usage({
    details: "The command gets the app's environment, user and working directory unless told otherwise.",
    examples: [["A shell", "$0 exec -it web sh"]],
  });

  arguments = Option.Rest({ name: "instance-and-command" });
  interactive = Option.Boolean("-i,--interactive", false, { description: "pass standard input on" });
  tty = Option.Boolean("-t,--tty", false, { description: "give the command a terminal" });
  env = Option.Array("-e,--env", [], { description: "NAME=value (repeatable)" });
  envFile = Option.Array("--env-file", [], { description: "file of NAME=value lines (repeatable)" });
  user = Option.String("-u,--user", { description: "user[:group]" });
  workdir = Option.String("-w,--workdir", { description: "working directory" });
  privileged = Option.Boolean("--privileged", false, { description: "all capabilities" });

  override async execute(): Promise<number> {
    const [name, ...argv] = this.arguments;
    if (name === undefined || argv.length === 0)
      throw usageError('"aegis exec" needs an instance and a command', "exec");
    if (this.tty && this.interactive && !process.stdin.isTTY) {
      throw new AegisError("NO_TERMINAL", "-t needs a terminal, and standard input is none", { hint: "leave -t out" });
    }
    const { config } = await findInstance(this.home, name);
    const files = await Promise.all(this.envFile.map((file) => environmentFile(file, process.env)));
    const interaction = await interact(
      this.home,
      config,
      {
        op: "exec",
        stdin: this.interactive,
        process: {
          argv,
          env: [...files.flat(), ...environmentOf(this.env, process.env)],
          user: this.user,
          cwd: this.workdir,
          size: this.tty ? (terminalSize() ?? { rows: 24, cols: 80 }) : undefined,
          privileged: this.privileged,
        },
      },
      {
        stdin: this.interactive && !this.tty ? process.stdin : undefined,
        stdout: this.context.stdout,
        stderr: this.context.stderr,
      },
    );
    const end = await front(interaction, { tty: this.tty, signals: true });
    if (end === "detached") return 0;
    if (end.reason) this.note(`aegis: ${end.reason}`);
    return end.exitCode;
  }
}

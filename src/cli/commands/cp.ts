import { Command, Option } from "clipanion";
import { copyFromGuest, copyToGuest, tarFromGuest, tarToGuest } from "../../instance/copy.js";
import { findInstance } from "../../instance/store.js";
import { usageError } from "../argv.js";
import { AegisCommand } from "../command.js";

export default class CopyCommand extends AegisCommand {
  static override paths = [["cp"]];
  static override usage = Command.Usage({
    details: `One side is INSTANCE:PATH. Into an existing directory, or as the name given; DIR/. is what is in DIR; - is a tar on
      standard input or output.`,
    examples: [
      ["Out", "$0 cp web:/var/log/app.log ."],
      ["In", "$0 cp ./config.json web:/etc/app/"],
    ],
  });

  source = Option.String({ required: true });
  target = Option.String({ required: true });

  override async execute() {
    const [from, to] = [guestSide(this.source), guestSide(this.target)];
    if (from && !to) {
      const { config } = await findInstance(this.home, from.name);
      if (this.target === "-") await tarFromGuest(this.home, config, from.path, this.context.stdout);
      else await copyFromGuest(this.home, config, from.path, this.target);
    } else if (to && !from) {
      const { config } = await findInstance(this.home, to.name);
      if (this.source === "-") await tarToGuest(this.home, config, process.stdin, to.path);
      else await copyToGuest(this.home, config, this.source, to.path);
    } else throw usageError("one side of cp is INSTANCE:PATH, the other a path here", "cp");
  }
}

/** `web:/path`; a path that begins with `.`, `/` or is `-` is on this side. */
function guestSide(text: string): { readonly name: string; readonly path: string } | undefined {
  const match = /^([a-zA-Z0-9][a-zA-Z0-9_.-]*):(.*)$/s.exec(text);
  return match ? { name: match[1]!, path: match[2]! } : undefined;
}

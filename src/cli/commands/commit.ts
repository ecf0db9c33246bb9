import { Command, Option } from "clipanion";
import { commitInstance } from "../../instance/commit.js";
import { parseReference } from "../../oci/references.js";
import { AegisCommand } from "../command.js";
import { withStore } from "../images.js";

export default class CommitCommand extends AegisCommand {
  static override paths = [["commit"]];
  static override usage = Command.Usage({
    details: `The image that the instance was made from, with what the instance changed as one more layer. A running instance
      stands still meanwhile. Settings are the image's: what "run" was told (variables, secrets, ports) is not kept, and
      neither is what volumes hold.`,
    examples: [
      ["Keep what was set up by hand", '$0 commit -m "plugins installed" claw claw:mine'],
      ["With another command", `$0 commit --change 'CMD ["node", "server.js"]' web web:2`],
    ],
  });

  name = Option.String({ required: true });
  reference = Option.String({ required: false });
  change = Option.Array("-c,--change", [], {
    description: "apply a Dockerfile instruction to the config (repeatable)",
  });
  message = Option.String("-m,--message", { description: "text for the image's history" });
  author = Option.String("-a,--author", { description: "who made it" });

  override async execute() {
    if (this.reference !== undefined) parseReference(this.reference);
    const image = await withStore(this.home, (store) =>
      commitInstance(this.home, store, this.name, {
        reference: this.reference,
        changes: this.change,
        message: this.message,
        author: this.author,
        created: new Date().toISOString(),
      }),
    );
    this.print({ id: image.target.digest, names: image.names }, ({ id }) => id);
  }
}

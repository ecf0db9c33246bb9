import { Command, Option } from "clipanion";
import { AegisCommand } from "../command.js";
import { withStore } from "../images.js";

export default class TagCommand extends AegisCommand {
  static override paths = [["tag"]];
  static override usage = Command.Usage({ examples: [["Name it for a registry", "$0 tag app ghcr.io/owner/app:1.0"]] });

  source = Option.String();
  target = Option.String();

  override async execute() {
    await withStore(this.home, (store) => store.tag(this.source, this.target));
  }
}

import { Command, Option } from "clipanion";
import { diffInstance } from "../../instance/commit.js";
import { AegisCommand } from "../command.js";

export default class DiffCommand extends AegisCommand {
  static override paths = [["diff"]];
  static override usage = Command.Usage({
    details: `A is added, C changed, D deleted. It is read from the instance's disk; a running instance writes what it has in
      memory first and stands still for as long as that takes. Volumes and shared directories are no part of it.`,
    examples: [["What an app writes", "$0 diff web"]],
  });

  name = Option.String({ required: true });

  override async execute() {
    this.print(await diffInstance(this.home, this.name), (changes) =>
      changes.map(({ kind, path }) => `${kind} ${path}`).join("\n"),
    );
  }
}

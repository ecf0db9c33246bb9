import { Command } from "clipanion";
import { openSecretStore } from "../../../secrets/store.js";
import { AegisCommand } from "../../command.js";

export default class SecretListCommand extends AegisCommand {
  static override paths = [["secret", "ls"]];
  static override usage = Command.Usage({ details: "Values are never printed." });

  override async execute() {
    this.printTable(await openSecretStore(this.home.secrets).list(), {
      columns: [
        { title: "NAME", value: (secret) => secret.name },
        { title: "UPDATED", value: (secret) => secret.updatedAt },
      ],
    });
  }
}

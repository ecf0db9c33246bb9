import { Option } from "clipanion";
import { openSecretStore } from "../../../secrets/store.js";
import { AegisCommand } from "../../command.js";

export default class SecretRemoveCommand extends AegisCommand {
  static override paths = [["secret", "rm"]];

  names = Option.Rest({ required: 1 });

  override async execute() {
    const store = openSecretStore(this.home.secrets);
    for (const name of this.names) await store.remove(name);
    this.print(this.names, (names) => names.join("\n"));
  }
}

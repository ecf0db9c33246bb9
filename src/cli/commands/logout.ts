import { Command, Option } from "clipanion";
import { AegisCommand } from "../command.js";

export default class LogoutCommand extends AegisCommand {
  static override paths = [["logout"]];
  static override usage = Command.Usage({ examples: [["Docker Hub", "$0 logout"]] });

  server = Option.String({ required: false });

  override async execute() {
    const [{ registryDomain }, { eraseCredentials }] = await Promise.all([
      import("../../oci/registry/login.js"),
      import("../../oci/registry/credentials.js"),
    ]);
    const registry = registryDomain(this.server);
    const removed = await eraseCredentials(registry, process.env);
    this.print({ registry, removed }, () =>
      removed ? `Removed the credentials for ${registry}` : `There were no credentials for ${registry}`,
    );
  }
}

import { Command, Option } from "clipanion";
import { familiarName } from "../../oci/references.js";
import { AegisCommand } from "../command.js";
import { openInput, withStore } from "../images.js";

export default class LoadCommand extends AegisCommand {
  static override paths = [["load"]];
  static override usage = Command.Usage({
    details: "Takes OCI and docker archives, plain or compressed with gzip or zstd.",
    examples: [
      ["Load what another tool saved", "$0 load -i app.tar"],
      ["From a pipe", "docker save app | $0 load"],
    ],
  });

  input = Option.String("-i,--input", "-", { description: "archive to read instead of standard input" });
  quiet = Option.Boolean("-q,--quiet", false, { description: "print only the ids" });

  override async execute() {
    const source = await openInput(this.input, this.context.stdin);
    const { loadArchive } = await import("../../oci/archive/load.js");
    const loaded = await withStore(this.home, (store) => loadArchive(store, source));
    this.print(
      loaded.map(({ target, names }) => ({ id: target.digest, names: names.map((name) => familiarName(name)) })),
      (images) =>
        images
          .flatMap(({ id, names }) => {
            if (this.quiet) return [id];
            return names.length > 0 ? names.map((name) => `Loaded image: ${name}`) : [`Loaded image ID: ${id}`];
          })
          .join("\n"),
    );
  }
}

import { Command, Option } from "clipanion";
import { parseLayoutReference } from "../../oci/archive/layout-reference.js";
import { familiarName } from "../../oci/references.js";
import type { ImageStore } from "../../oci/store.js";
import { AegisCommand } from "../command.js";
import { openInput, withStore } from "../images.js";

export default class LoadCommand extends AegisCommand {
  static override paths = [["load"]];
  static override usage = Command.Usage({
    details: "Takes OCI and docker archives, plain or compressed with gzip or zstd, and OCI layouts in directories.",
    examples: [
      ["Load what another tool saved", "$0 load -i app.tar"],
      ["One image of a layout", "$0 load -i oci:./layout:app"],
      ["From a pipe", "docker save app | $0 load"],
    ],
  });

  input = Option.String("-i,--input", "-", { description: "archive or layout to read instead of standard input" });
  quiet = Option.Boolean("-q,--quiet", false, { description: "print only the ids" });

  override async execute() {
    const loaded = await withStore(this.home, (store) => this.#load(store));
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

  async #load(store: ImageStore) {
    const layout = parseLayoutReference(this.input);
    const { isLayout, loadLayoutDirectory } = await import("../../oci/archive/layout.js");
    if (layout) return await loadLayoutDirectory(store, layout);
    if (this.input !== "-" && (await isLayout(this.input)))
      return await loadLayoutDirectory(store, { directory: this.input });
    const { loadArchive } = await import("../../oci/archive/load.js");
    return await loadArchive(store, await openInput(this.input, this.context.stdin));
  }
}

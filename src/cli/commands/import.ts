import { Command, Option } from "clipanion";
import { parsePlatform } from "../../oci/platforms.js";
import { parseReference } from "../../oci/references.js";
import type { RuntimeConfig } from "../../oci/types.js";
import { AegisCommand } from "../command.js";
import { openInput, withStore } from "../images.js";

export default class ImportCommand extends AegisCommand {
  static override paths = [["import"]];
  static override usage = Command.Usage({
    details: "The tarball holds a root filesystem; gzip and zstd are recognised.",
    examples: [
      ["A base image", "$0 import rootfs.tar.gz debian:mine"],
      ["From a pipe, with a command", `mmdebstrap bookworm - | $0 import --change 'CMD ["bash"]' - debian`],
    ],
  });

  file = Option.String();
  name = Option.String({ required: false });
  change = Option.Array("-c,--change", [], { description: "apply a Dockerfile instruction to the config" });
  message = Option.String("-m,--message", { description: "text for the image's history" });
  platform = Option.String("--platform", { description: "platform of the content, e.g. linux/arm64" });

  override async execute() {
    if (this.name !== undefined) parseReference(this.name);
    const platform = this.platform === undefined ? undefined : parsePlatform(this.platform);
    const [{ importRootTar }, { applyChange }] = await Promise.all([
      import("../../oci/archive/import.js"),
      import("../../oci/archive/changes.js"),
    ]);
    const config = this.change.reduce<RuntimeConfig>(applyChange, {});
    const source = await openInput(this.file, this.context.stdin);
    const image = await withStore(this.home, (store) =>
      importRootTar(store, source, this.name === undefined ? [] : [this.name], {
        config,
        platform,
        message: this.message ?? `Imported from ${this.file}`,
      }),
    );
    this.print({ id: image.target.digest, names: image.names }, ({ id }) => id);
  }
}

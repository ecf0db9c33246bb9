import { Command, Option } from "clipanion";
import { parsePlatform } from "../../oci/platforms.js";
import { familiarName, parseReference } from "../../oci/references.js";
import { AegisCommand } from "../command.js";
import { registryOptions, withStore } from "../images.js";
import { transferReporter } from "../render/transfer.js";

export default class PushCommand extends AegisCommand {
  static override paths = [["push"]];
  static override usage = Command.Usage({
    details: "The image's name says where it goes; `aegis tag` gives it one.",
    examples: [["To a registry", "$0 push ghcr.io/owner/app:1.0"]],
  });

  image = Option.String();
  platform = Option.String("--platform", { description: "push only this platform of an image that has several" });
  quiet = Option.Boolean("-q,--quiet", false, { description: "print only the image's name" });

  override async execute() {
    parseReference(this.image);
    const platform = this.platform === undefined ? undefined : parsePlatform(this.platform);
    const { pushImage } = await import("../../oci/registry/push.js");
    const reporter = transferReporter(this.context.stderr, { quiet: this.quiet || this.json });
    const pushed = await withStore(this.home, async (store) => {
      try {
        const registry = registryOptions(this.home);
        return await pushImage(store, this.image, { platform, onProgress: reporter.report, registry });
      } finally {
        reporter.end();
      }
    });
    if (!this.quiet && !this.json) this.note(`Digest: ${pushed.target.digest}`);
    this.print({ name: pushed.name, id: pushed.target.digest }, ({ name }) => familiarName(name));
  }
}

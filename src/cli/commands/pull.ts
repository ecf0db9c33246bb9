import { Command, Option } from "clipanion";
import { parsePlatform } from "../../oci/platforms.js";
import { familiarName, parseReference } from "../../oci/references.js";
import { AegisCommand } from "../command.js";
import { registryOptions, withStore } from "../images.js";
import { transferReporter } from "../render/transfer.js";

export default class PullCommand extends AegisCommand {
  static override paths = [["pull"]];
  static override usage = Command.Usage({
    details:
      "Names are completed as Docker completes them. docs/registries.md tells about logins, mirrors and own CAs.",
    examples: [
      ["From Docker Hub", "$0 pull node:22"],
      ["For another platform", "$0 pull --platform linux/arm64 ghcr.io/owner/app:1.0"],
    ],
  });

  image = Option.String();
  platform = Option.String("--platform", { description: "platform of an image that has several" });
  quiet = Option.Boolean("-q,--quiet", false, { description: "print only the image's name" });

  override async execute() {
    parseReference(this.image);
    const platform = this.platform === undefined ? undefined : parsePlatform(this.platform);
    const { pullImage } = await import("../../oci/registry/pull.js");
    const reporter = transferReporter(this.context.stderr, { quiet: this.quiet || this.json });
    const image = await withStore(this.home, async (store) => {
      try {
        const registry = registryOptions(this.home);
        const pulled = await pullImage(store, this.image, { platform, onProgress: reporter.report, registry });
        const id = (await store.find(this.image))?.target.digest ?? pulled.target.digest;
        return { name: pulled.names[0]!, id, manifest: pulled.target.digest };
      } finally {
        reporter.end();
      }
    });
    if (!this.quiet && !this.json) this.note(`Digest: ${image.id}`);
    this.print(image, ({ name }) => familiarName(name));
  }
}

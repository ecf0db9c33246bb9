import { Command, Option } from "clipanion";
import { parseLayoutReference } from "../../oci/archive/layout-reference.js";
import { parsePlatform } from "../../oci/platforms.js";
import { AegisError } from "../../support/errors.js";
import { AegisCommand } from "../command.js";
import { withStore } from "../images.js";
import { refuseTerminal, withOutput } from "../output.js";

export default class SaveCommand extends AegisCommand {
  static override paths = [["save"]];
  static override usage = Command.Usage({
    details: "The archive is an OCI layout with docker's manifest.json in it, so that every tool can load it.",
    examples: [
      ["To a file", "$0 save -o app.tar app:1.0 app:latest"],
      ["To a layout, for other tools", "$0 save -o oci:./layout app"],
      ["To another machine", "$0 save app | ssh host docker load"],
    ],
  });

  images = Option.Rest({ required: 1 });
  output = Option.String("-o,--output", { description: "file, or oci:DIR, to write instead of standard output" });
  compress = Option.String("--compress", "none", { description: "gzip or zstd around the archive" });
  platform = Option.String("--platform", { description: "save only this platform, e.g. linux/arm64" });

  override async execute() {
    const layout = this.output === undefined ? undefined : parseLayoutReference(this.output);
    if (layout) {
      const { saveLayoutDirectory } = await import("../../oci/archive/layout.js");
      await withStore(this.home, (store) => saveLayoutDirectory(store, this.images, layout));
      return;
    }
    const { compress } = this;
    if (compress !== "none" && compress !== "gzip" && compress !== "zstd") {
      throw new AegisError("USAGE", `--compress is gzip, zstd or none, not "${compress}"`);
    }
    refuseTerminal(this.output, this.context.stdout);
    const platform = this.platform === undefined ? undefined : parsePlatform(this.platform);
    const { saveArchive, compressStream } = await import("../../oci/archive/save.js");
    await withStore(this.home, async (store) => {
      const archive = compressStream(saveArchive(store, this.images, { platform }), compress);
      await withOutput(this.output, this.context.stdout, async (put) => {
        for await (const chunk of archive) await put(chunk);
      });
    });
  }
}

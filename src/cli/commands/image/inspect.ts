import { Command, Option } from "clipanion";
import { parsePlatform } from "../../../oci/platforms.js";
import { familiarName, familiarRepository, parseReference } from "../../../oci/references.js";
import { imageNotFound } from "../../../oci/store.js";
import type { StoredImage } from "../../../oci/types.js";
import { AegisCommand } from "../../command.js";
import { withStore } from "../../images.js";

export default class ImageInspectCommand extends AegisCommand {
  static override paths = [["image", "inspect"]];
  static override usage = Command.Usage({
    details: "Prints JSON, with the fields that `docker image inspect` has.",
    examples: [["What an image runs", "$0 image inspect node:22"]],
  });

  images = Option.Rest({ required: 1 });
  platform = Option.String("--platform", { description: "platform of an image that has several" });

  override async execute() {
    const platform = this.platform === undefined ? undefined : parsePlatform(this.platform);
    const inspected = await withStore(this.home, async (store) => {
      const all = [];
      for (const text of this.images) {
        const [image, record] = [await store.resolve(text, { platform }), await store.find(text)];
        if (!image) throw imageNotFound(text);
        all.push(describe(image, record?.target.digest ?? image.target.digest));
      }
      return all;
    });
    this.print(inspected, (all) => JSON.stringify(all, null, 4));
  }
}

function describe({ target, manifest, config, names }: StoredImage, id: string) {
  const references = names.map((name) => parseReference(name));
  return {
    Id: id,
    RepoTags: references.filter((it) => it.digest === undefined).map((it) => familiarName(it)),
    RepoDigests: [...new Set(references.map((it) => `${familiarRepository(it)}@${id}`))],
    Comment: config.history?.at(-1)?.comment ?? "",
    Created: config.created ?? "",
    Author: config.author ?? "",
    Architecture: config.architecture,
    ...(config.variant ? { Variant: config.variant } : {}),
    Os: config.os,
    Size: manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size + target.size),
    RootFS: { Type: "layers", Layers: config.rootfs.diff_ids },
    Config: config.config ?? {},
    Descriptor: target,
    Manifest: manifest,
  };
}

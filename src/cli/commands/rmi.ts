import { Command, Option } from "clipanion";
import { type Removal, removeImage } from "../../oci/removal.js";
import { AegisError } from "../../support/errors.js";
import { AegisCommand } from "../command.js";
import { neededDigests, withStore } from "../images.js";

export default class RemoveImageCommand extends AegisCommand {
  static override paths = [["rmi"]];
  static override usage = Command.Usage({
    details: "Content that running builds or instances still need stays until they are done.",
    examples: [["Remove a tag", "$0 rmi app:1.0"]],
  });

  images = Option.Rest({ required: 1 });
  force = Option.Boolean("-f,--force", false, { description: "remove an image by its id with all its names" });
  noPrune = Option.Boolean("--no-prune", false, { description: "leave the content for `prune`" });

  override async execute() {
    const failures: AegisError[] = [];
    const removals = await withStore(this.home, async (store) => {
      const done: Removal[] = [];
      for (const image of this.images) {
        try {
          done.push(await removeImage(store, image, { force: this.force }));
        } catch (error) {
          if (!(error instanceof AegisError)) throw error;
          if (!(this.force && error.code === "IMAGE_NOT_FOUND")) failures.push(error);
        }
      }
      await store.close();
      if (!this.noPrune) await store.collect({ keep: () => neededDigests(this.home) });
      return done;
    });
    this.print(removals, (all) =>
      all
        .flatMap((it) => [...it.untagged.map((n) => `Untagged: ${n}`), ...it.deleted.map((d) => `Deleted: ${d}`)])
        .join("\n"),
    );
    if (failures.length > 0) throw failures[0]!;
  }
}

import { Command, Option } from "clipanion";
import { pruneBuildCache } from "../../build/cache/prune.js";
import { disksOfInstances } from "../../instance/store.js";
import { familiarName } from "../../oci/references.js";
import { pruneImages } from "../../oci/store/prune.js";
import { collectDisks } from "../../rootfs/collect.js";
import { sweepTemporary } from "../../support/files.js";
import { formatSize, parseSize } from "../../support/sizes.js";
import { AegisCommand } from "../command.js";
import { neededDigests, shortId, withStore } from "../images.js";
import { confirm } from "../input.js";

export default class PruneCommand extends AegisCommand {
  static override paths = [["prune"]];
  static override usage = Command.Usage({
    details: `
      Removes images without a name, all content that nothing leads to, and the disks made of it. What running builds and instances need, and what
      cached build steps lead to, stays; with -a the build cache goes too.
    `,
    examples: [
      ["All images older than a week that no instance uses", "$0 prune -a --filter until=168h"],
      ["The oldest ones, until the store takes 10 GB", "$0 prune -a --keep-storage 10g"],
    ],
  });

  all = Option.Boolean("-a,--all", false, {
    description: "also images that have a name, unless an instance uses them",
  });
  filter = Option.Array("--filter", [], { description: "until=TIME, label=K[=V], reference=PATTERN" });
  keepStorage = Option.String("--keep-storage", { description: "stop when the store takes no more than this" });
  force = Option.Boolean("-f,--force", false, { description: "don't ask" });

  override async execute() {
    const keepStorage = this.keepStorage === undefined ? undefined : parseSize(this.keepStorage);
    const what = this.all ? "all images that no instance uses, and the build cache" : "all images without a name";
    if (!this.force && !(await confirm(`This removes ${what}. Go on?`))) return;
    const cacheBytes =
      this.all && this.filter.length === 0 && keepStorage === undefined ? await pruneBuildCache(this.home) : 0;
    const { pruned, disks } = await withStore(this.home, async (store) => {
      const keep = () => neededDigests(this.home);
      return {
        pruned: await pruneImages(store, { all: this.all, filters: this.filter, keepStorage, keep }),
        disks: await collectDisks(this.home, store, { keep: () => disksOfInstances(this.home) }),
      };
    });
    await sweepTemporary(this.home.tmp);
    const reclaimed = pruned.bytes + cacheBytes + disks.bytes;
    const images = pruned.images.map(({ target, names }) => ({
      id: target.digest,
      names: names.map((it) => familiarName(it)),
    }));
    this.print({ images, buildCache: cacheBytes, imageDisks: disks.bytes, reclaimed }, () =>
      [
        ...images.map(({ id, names }) => `Deleted: ${names.length > 0 ? names.join(", ") : shortId(id)}`),
        `Reclaimed: ${formatSize(reclaimed)}`,
      ].join("\n"),
    );
  }
}

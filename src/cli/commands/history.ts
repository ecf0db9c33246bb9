import { Command, Option } from "clipanion";
import { imageNotFound } from "../../oci/store.js";
import type { HistoryEntry, StoredImage } from "../../oci/types.js";
import { formatSize } from "../../support/sizes.js";
import { AegisCommand } from "../command.js";
import { formatAge, shortId, withStore } from "../images.js";

export default class HistoryCommand extends AegisCommand {
  static override paths = [["history"]];
  static override usage = Command.Usage({
    details: "SIZE is what the layer takes in the store, compressed as it is.",
    examples: [["How an image came to be", "$0 history --no-trunc node:22"]],
  });

  image = Option.String();
  noTrunc = Option.Boolean("--no-trunc", false, { description: "show whole commands" });
  quiet = Option.Boolean("-q,--quiet", false, { description: "print only ids" });

  override async execute() {
    const image = await withStore(this.home, (store) => store.resolve(this.image));
    if (!image) throw imageNotFound(this.image);
    const rows = rowsOf(image);
    if (this.quiet && !this.json) {
      this.print(rows, (all) => all.map((row) => row.id).join("\n"));
      return;
    }
    this.printTable(rows, {
      columns: [
        { title: "IMAGE", value: (row) => (row.id.startsWith("sha256:") && !this.noTrunc ? shortId(row.id) : row.id) },
        { title: "CREATED", value: (row) => formatAge(row.created) },
        { title: "CREATED BY", value: (row) => this.#cut(row.createdBy) },
        { title: "SIZE", value: (row) => formatSize(row.size) },
        { title: "COMMENT", value: (row) => row.comment },
      ],
    });
  }

  #cut(text: string): string {
    const line = text.replace(/\s+/g, " ");
    return this.noTrunc || line.length <= 45 ? line : `${line.slice(0, 44)}…`;
  }
}

interface Row {
  readonly id: string;
  readonly created: string | undefined;
  readonly createdBy: string;
  readonly size: number;
  readonly comment: string;
}

/** Newest first; images that carry no history show their layers. */
function rowsOf({ target, manifest, config }: StoredImage): readonly Row[] {
  const history: readonly HistoryEntry[] = config.history ?? manifest.layers.map(() => ({}));
  let layer = 0;
  const rows = history.map((entry, i): Row => {
    const size = entry.empty_layer ? 0 : (manifest.layers[layer++]?.size ?? 0);
    const id = i === history.length - 1 ? target.digest : "<missing>";
    return { id, created: entry.created, createdBy: entry.created_by ?? "", size, comment: entry.comment ?? "" };
  });
  return rows.reverse();
}

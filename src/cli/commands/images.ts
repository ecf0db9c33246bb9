import { Command, Option } from "clipanion";
import { familiarRepository, parseReference } from "../../oci/references.js";
import { selectImages } from "../../oci/select.js";
import type { ImageSummary } from "../../oci/store.js";
import { formatSize } from "../../support/sizes.js";
import { AegisCommand } from "../command.js";
import { formatAge, shortId, withStore } from "../images.js";

export default class ImagesCommand extends AegisCommand {
  static override paths = [["images"]];
  static override usage = Command.Usage({
    details: "SIZE is what the image's blobs take in the store; images share them.",
    examples: [
      ["All tags of a repository", "$0 images node"],
      ["Ids of images without a name", "$0 images -q --filter dangling=true"],
    ],
  });

  repository = Option.String({ required: false });
  all = Option.Boolean("-a,--all", false, { description: "show all images (there are no hidden ones)" });
  quiet = Option.Boolean("-q,--quiet", false, { description: "print only the ids" });
  digests = Option.Boolean("--digests", false, { description: "show digests" });
  noTrunc = Option.Boolean("--no-trunc", false, { description: "show whole ids" });
  filter = Option.Array("-f,--filter", [], {
    description: "dangling=true|false, reference=PATTERN, until=TIME, label=K[=V], before=IMAGE or since=IMAGE",
  });

  override async execute() {
    const filters = this.repository === undefined ? this.filter : [...this.filter, `reference=${this.repository}`];
    const images = await withStore(this.home, (store) => selectImages(store, filters));
    const rows = images.flatMap(rowsOf);
    if (this.quiet && !this.json) {
      this.print([...new Set(rows.map((row) => this.#id(row.id)))], (ids) => ids.join("\n"));
      return;
    }
    this.printTable(rows, {
      columns: [
        { title: "REPOSITORY", value: (row) => row.repository },
        { title: "TAG", value: (row) => row.tag },
        ...(this.digests ? [{ title: "DIGEST", value: (row: Row) => row.id }] : []),
        { title: "IMAGE ID", value: (row) => this.#id(row.id) },
        { title: "CREATED", value: (row) => formatAge(row.created) },
        { title: "SIZE", value: (row) => formatSize(row.size) },
      ],
    });
  }

  #id(digest: string): string {
    return this.noTrunc ? digest : shortId(digest);
  }
}

interface Row {
  readonly repository: string;
  readonly tag: string;
  readonly id: string;
  readonly created: string | undefined;
  readonly size: number;
}

function rowsOf(image: ImageSummary): readonly Row[] {
  const shared = { id: image.target.digest, created: image.created, size: image.size };
  if (image.names.length === 0) return [{ repository: "<none>", tag: "<none>", ...shared }];
  return image.names.map((name) => {
    const reference = parseReference(name);
    return { repository: familiarRepository(reference), tag: reference.tag ?? "<none>", ...shared };
  });
}

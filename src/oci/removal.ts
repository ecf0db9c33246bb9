/** Taking images away as `docker rmi` does: a name at a time, and the content with the last one. */
import { AegisError } from "../support/errors.js";
import { isDigest } from "./digests.js";
import { familiarName, formatReference, parseReference } from "./references.js";
import type { ImageRecord } from "./store/images.js";
import { type ImageStore, imageNotFound } from "./store.js";

export interface Removal {
  readonly untagged: readonly string[];
  /** Ids of images that nothing names any more. */
  readonly deleted: readonly string[];
}

/**
 * Removes names or images; collecting the garbage is left to the caller. An id with several names needs `force`.
 * @throws AegisError IMAGE_NOT_FOUND, IMAGE_HAS_NAMES
 */
export async function removeImage(
  store: ImageStore,
  text: string,
  options: { readonly force?: boolean } = {},
): Promise<Removal> {
  const record = await store.find(text);
  if (!record) throw imageNotFound(text);
  const name = namedAs(record, text);
  if (name !== undefined) {
    const { last, target } = await store.untag(name);
    return { untagged: [familiarName(name)], deleted: last ? [target.digest] : [] };
  }
  if (record.names.length > 1 && !options.force) {
    throw new AegisError("IMAGE_HAS_NAMES", `the image ${text} has ${record.names.length} names`, {
      hint: `remove them one by one (${record.names.map((it) => familiarName(it)).join(", ")}), or all with --force`,
      details: { names: record.names },
    });
  }
  await store.remove(record.target.digest);
  return { untagged: record.names.map((it) => familiarName(it)), deleted: [record.target.digest] };
}

/** The record's name that `text` spells, unless it is an id. */
function namedAs(record: ImageRecord, text: string): string | undefined {
  if (isDigest(text) || /^[0-9a-f]{64}$/.test(text)) return undefined;
  const { domain, path, tag, digest } = parseReference(text);
  const exact = formatReference({ domain, path, ...(tag ? { tag } : {}), ...(digest ? { digest } : {}) });
  const bare = formatReference({ domain, path, ...(tag ? { tag } : {}) });
  return record.names.find((it) => it === exact || it === bare);
}

/** A root filesystem as a tar of its files, as `docker export` gives it. */
import { createTarEncoder } from "../oci/tar/encode.js";
import { pushBelow, type TreeView } from "./view.js";

/** Gives everything below the root directory to `put`, parents first; no view is an empty archive. */
export async function exportTar(
  view: TreeView | undefined,
  put: (chunk: Uint8Array) => Promise<unknown>,
): Promise<void> {
  await exportTars([{ view, under: "" }], put);
}

/** Several trees in one tar, each under a directory of its own. */
export async function exportTars(
  trees: readonly { readonly view: TreeView | undefined; readonly under: string }[],
  put: (chunk: Uint8Array) => Promise<unknown>,
): Promise<void> {
  let waiting: Uint8Array[] = [];
  const flush = async () => {
    const chunks = waiting;
    waiting = [];
    for (const chunk of chunks) await put(chunk);
  };
  // Pieces are only lent.
  const encoder = createTarEncoder((chunk) => void waiting.push(Uint8Array.from(chunk)), flush);
  for (const { view, under } of trees) await pushBelow(view, encoder, under);
  encoder.end();
  await flush();
}

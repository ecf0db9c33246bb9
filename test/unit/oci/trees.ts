/** Trees in memory for tests: a sink that records and a producer that replays. */
import { type ByteString, encodeText } from "../../../src/support/brands.js";
import type { TreeEntry, TreeSink } from "../../../src/support/tree.js";

export interface Recorded {
  readonly entry: TreeEntry;
  readonly content: Buffer;
}

export function recorder(): TreeSink & { readonly tree: Recorded[] } {
  const tree: { entry: TreeEntry; content: Buffer }[] = [];
  const append = (bytes: Uint8Array) => {
    const last = tree.at(-1)!;
    last.content = Buffer.concat([last.content, bytes]);
  };
  return {
    tree,
    entry: (entry) => void tree.push({ entry, content: Buffer.alloc(0) }),
    data: (chunk) => append(chunk),
    hole: (length) => append(Buffer.alloc(length)),
    drain: () => undefined,
  };
}

export function replay(tree: readonly Recorded[], sink: TreeSink): void {
  for (const { entry, content } of tree) {
    sink.entry(entry);
    if (content.length > 0) sink.data(content);
  }
}

export const path = (text: string): ByteString => encodeText(text);

export function entry(over: Partial<TreeEntry> & { readonly path: ByteString }): TreeEntry {
  const base = { type: "file", mode: 0o644, uid: 0, gid: 0, mtime: { sec: 1_700_000_000, nsec: 0 }, size: 0 } as const;
  return { ...base, ...over };
}

export const file = (name: string, content: string | Buffer, over: Partial<TreeEntry> = {}): Recorded => {
  const bytes = Buffer.from(content);
  return { entry: entry({ path: path(name), size: bytes.length, ...over }), content: bytes };
};

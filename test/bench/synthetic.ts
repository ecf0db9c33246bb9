/** A tree like that of an installed application: many small files, some large ones, half of the bytes compressible. */
import { type ByteString, encodeText } from "../../src/support/brands.js";
import type { TreeSink } from "../../src/support/tree.js";

export interface SyntheticTree {
  readonly bytes: number;
  readonly files: number;
  /** Only every n-th file, beginning with the m-th: one of several layers that make up the tree. */
  readonly share?: { readonly index: number; readonly of: number };
}

const filesPerDirectory = 40;

/** Pushes the tree; the same numbers give the same bytes. */
export async function pushSynthetic(tree: SyntheticTree, sink: TreeSink): Promise<void> {
  const noise = pseudoRandom(1 << 20, 7);
  const text = Buffer.alloc(1 << 20, "export function answer() { return 42; } // lorem ipsum dolor sit amet\n");
  const base = { mode: 0o644, uid: 0, gid: 0, mtime: { sec: 1_700_000_000, nsec: 0 }, size: 0 } as const;
  const share = tree.share ?? { index: 0, of: 1 };
  let state = 12345;
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 32;
  };
  // Half of the files are tiny; sizes are scaled to the sum that is wanted.
  const weights = Array.from({ length: tree.files }, () => 0.02 + next() ** 6 * 8);
  const scale = tree.bytes / weights.reduce((sum, weight) => sum + weight, 0);
  let directory = "";
  for (let i = 0; i < tree.files; i++) {
    const package_ = Math.floor(i / filesPerDirectory);
    const home = `node_modules/package-${package_ % 997}/lib-${package_}`;
    if (i % share.of !== share.index) continue;
    if (home !== directory) {
      directory = home;
      for (const path of ["node_modules", `node_modules/package-${package_ % 997}`, home]) {
        sink.entry({ ...base, mode: 0o755, type: "directory", path: encodeText(path) });
      }
    }
    const size = Math.floor(weights[i]! * scale);
    sink.entry({ ...base, type: "file", path: `${home}/file-${i}.js` as ByteString, size });
    const source = i % 2 === 0 ? noise : text;
    for (let left = size, at = (i * 4099) % (1 << 19); left > 0; at = 0) {
      const piece = source.subarray(at, Math.min(at + left, source.length));
      sink.data(piece);
      left -= piece.length;
    }
    await sink.drain();
  }
}

function pseudoRandom(length: number, seed: number): Buffer {
  const words = new Uint32Array(length / 4);
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state >>> 0;
  }
  return Buffer.from(words.buffer);
}

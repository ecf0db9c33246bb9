/** Sets of extended attributes, each kept once: thousands of inodes often carry the same label. */
import { AegisError } from "../support/errors.js";
import type { BlockSink } from "./extents.js";
import type { InodeStore } from "./inode-store.js";
import {
  type EncodedXattrs,
  encodeXattrs,
  MAX_XATTR_SHARERS,
  type StoredXattr,
  sealXattrBlock,
  toStored,
} from "./xattr.js";

export class XattrStore {
  readonly #ids = new Map<string, number>();
  readonly #sets: EncodedXattrs[] = [];
  /** By set: blocks that hold it, and how many inodes have been given one. */
  #placed: { blocks: number[]; taken: number }[] = [];

  /**
   * Id of a set; 0 if nothing of it can be stored. Attributes of namespaces that ext4 doesn't know are left out.
   * @throws AegisError EXT4_XATTRS_TOO_LARGE
   */
  intern(xattrs: ReadonlyMap<string, Uint8Array> | undefined): number {
    if (!xattrs || xattrs.size === 0) return 0;
    const list: StoredXattr[] = [];
    for (const [name, value] of xattrs) {
      const stored = toStored(name, value);
      if (stored) list.push(stored);
    }
    if (list.length === 0) return 0;
    const encoded = encodeXattrs(list);
    if (!encoded) {
      throw new AegisError("EXT4_XATTRS_TOO_LARGE", "a file has more extended attributes than ext4 can hold", {
        hint: "a file's attributes must fit into 4 KiB",
      });
    }
    const key = `${encoded.inline?.toString("latin1") ?? ""}/${encoded.block?.toString("latin1") ?? ""}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    this.#sets.push(encoded);
    this.#ids.set(key, this.#sets.length);
    return this.#sets.length;
  }

  /** Writes the blocks that the inodes in use need. */
  place(inodes: InodeStore, seed: number, sink: BlockSink): void {
    const users = new Uint32Array(this.#sets.length);
    for (let inode = 0; inode < inodes.end; inode++) {
      const id = inodes.xattrs[inode]!;
      if (inodes.mode[inode] !== 0 && id !== 0) users[id - 1]!++;
    }
    this.#placed = this.#sets.map(({ block }, index) => {
      const blocks: number[] = [];
      for (let left = block ? users[index]! : 0; left > 0; left -= MAX_XATTR_SHARERS) {
        const number = sink.allocate();
        sink.write(number, sealXattrBlock(block!, Math.min(left, MAX_XATTR_SHARERS), number, seed));
        blocks.push(number);
      }
      return { blocks, taken: 0 };
    });
  }

  inline(id: number): Buffer | undefined {
    return id === 0 ? undefined : this.#sets[id - 1]!.inline;
  }

  /** The block for the next inode with this set, 0 if it needs none. To be asked once for each inode. */
  takeBlock(id: number): number {
    const placed = this.#placed[id - 1];
    if (!placed || placed.blocks.length === 0) return 0;
    return placed.blocks[Math.floor(placed.taken++ / MAX_XATTR_SHARERS)]!;
  }
}

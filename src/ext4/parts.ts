/** What a filesystem under construction consists of, and what it is called. */
import type { BlockAllocator } from "./allocator.js";
import type { InodeStore } from "./inode-store.js";
import type { Namespace } from "./namespace.js";
import type { Output } from "./output.js";
import type { XattrStore } from "./xattr-store.js";

export interface Identity {
  readonly uuid: Uint8Array;
  readonly hashSeed: Uint8Array;
  readonly label: string;
  readonly timestamp: number;
}

export interface Parts {
  readonly names: Namespace;
  readonly inodes: InodeStore;
  readonly blocks: BlockAllocator;
  readonly output: Output;
  readonly xattrs: XattrStore;
}

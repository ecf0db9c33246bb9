/** The inodes of a filesystem under construction, a column for each property. */
import { Arena, grown } from "./columns.js";
import { type Extent, MAX_EXTENT_BLOCKS } from "./extents.js";
import { FIRST_INODE } from "./inode.js";

const INITIAL = 1024;

export class InodeStore {
  /** By inode number. Mode 0 is a free inode. */
  mode = new Uint16Array(INITIAL);
  uid = new Uint32Array(INITIAL);
  gid = new Uint32Array(INITIAL);
  links = new Uint32Array(INITIAL);
  seconds = new Float64Array(INITIAL);
  nanoseconds = new Uint32Array(INITIAL);
  size = new Float64Array(INITIAL);
  /** Id of a set of extended attributes; 0 is none. */
  xattrs = new Uint32Array(INITIAL);
  extentsAt = new Uint32Array(INITIAL);
  extentCount = new Uint32Array(INITIAL);
  /** Directory: its parent's inode number. Device: major * 2^20 + minor. Symlink: address of its target. */
  payload = new Float64Array(INITIAL);
  /** One more than the highest inode number ever given. */
  end = FIRST_INODE + 1;
  readonly targets = new Arena();
  #released: number[] = [];

  /** By extent. */
  #logical = new Uint32Array(INITIAL);
  #physical = new Float64Array(INITIAL);
  #length = new Uint16Array(INITIAL);
  #extents = 0;

  /** A fresh inode number; all columns but `mode` are as they were left. */
  allocate(): number {
    const inode = this.#released.pop() ?? this.end++;
    if (inode >= this.mode.length) this.#grow(this.mode.length * 2);
    return inode;
  }

  /** Gives an inode number back. */
  release(inode: number): void {
    this.mode[inode] = 0;
    this.links[inode] = 0;
    this.#released.push(inode);
  }

  /** Where the extents of the file to come will start. */
  get nextExtent(): number {
    return this.#extents;
  }

  /**
   * Appends a run of blocks to the file whose extents start at `firstOfFile`. A run that continues the last extent on both
   * sides lengthens it.
   */
  addExtents(logical: number, physical: number, blocks: number, firstOfFile: number): void {
    for (let done = 0; done < blocks; ) {
      done += this.#continueExtent(logical + done, physical + done, blocks - done, firstOfFile);
      const length = Math.min(blocks - done, MAX_EXTENT_BLOCKS);
      if (length > 0) this.#appendExtent(logical + done, physical + done, length);
      done += length;
    }
  }

  #continueExtent(logical: number, physical: number, blocks: number, firstOfFile: number): number {
    const last = this.#extents - 1;
    if (last < firstOfFile) return 0;
    const length = this.#length[last]!;
    if (this.#logical[last]! + length !== logical || this.#physical[last]! + length !== physical) return 0;
    const added = Math.min(blocks, MAX_EXTENT_BLOCKS - length);
    this.#length[last] = length + added;
    return added;
  }

  #appendExtent(logical: number, physical: number, length: number): void {
    const index = this.#extents++;
    if (index === this.#logical.length) {
      this.#logical = grown(this.#logical, index * 2);
      this.#physical = grown(this.#physical, index * 2);
      this.#length = grown(this.#length, index * 2);
    }
    this.#logical[index] = logical;
    this.#physical[index] = physical;
    this.#length[index] = length;
  }

  extent(index: number): Extent {
    return { logical: this.#logical[index]!, physical: this.#physical[index]!, length: this.#length[index]! };
  }

  /** Extents of an inode, in order. */
  extents(inode: number): Extent[] {
    const extents: Extent[] = [];
    const end = this.extentsAt[inode]! + this.extentCount[inode]!;
    for (let index = this.extentsAt[inode]!; index < end; index++) extents.push(this.extent(index));
    return extents;
  }

  #grow(capacity: number): void {
    this.mode = grown(this.mode, capacity);
    this.uid = grown(this.uid, capacity);
    this.gid = grown(this.gid, capacity);
    this.links = grown(this.links, capacity);
    this.seconds = grown(this.seconds, capacity);
    this.nanoseconds = grown(this.nanoseconds, capacity);
    this.size = grown(this.size, capacity);
    this.xattrs = grown(this.xattrs, capacity);
    this.extentsAt = grown(this.extentsAt, capacity);
    this.extentCount = grown(this.extentCount, capacity);
    this.payload = grown(this.payload, capacity);
  }
}

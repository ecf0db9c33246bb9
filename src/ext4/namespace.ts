/** The names of a filesystem under construction: which directory holds which name for which inode, and from which layer. */
import { randomBytes } from "node:crypto";
import type { ByteString } from "../support/brands.js";
import { Arena, grown } from "./columns.js";

/** Names are found through one hash table over (directory, name); the entries of a directory are a linked list. */
export class Namespace {
  /** By entry; 0 is no entry. */
  directory = new Uint32Array(1024);
  inode = new Uint32Array(1024);
  layer = new Uint16Array(1024);
  nameLength = new Uint8Array(1024);
  next = new Uint32Array(1024);
  #nameAt = new Float64Array(1024);
  #previous = new Uint32Array(1024);
  #chain = new Uint32Array(1024);
  #hashes = new Uint32Array(1024);
  #count = 1;
  #released: number[] = [];

  /** By inode number of a directory. */
  first = new Uint32Array(1024);
  last = new Uint32Array(1024);

  #buckets = new Uint32Array(1024);
  #used = 0;
  readonly #arena = new Arena();
  /** Unpredictable, so that nobody can choose names that all fall in one bucket; it never shows in the result. */
  readonly #salt = randomBytes(4).readUInt32LE();

  /** The entry for `path[start, end)` in `directory`, or 0. */
  lookup(directory: number, path: string, start = 0, end = path.length): number {
    const length = end - start;
    const hash = this.#hash(directory, path, start, end);
    let entry = this.#buckets[hash & (this.#buckets.length - 1)]!;
    while (
      entry !== 0 &&
      !(
        this.#hashes[entry] === hash &&
        this.directory[entry] === directory &&
        this.nameLength[entry] === length &&
        this.#arena.equals(this.#nameAt[entry]!, path, start, end)
      )
    ) {
      entry = this.#chain[entry]!;
    }
    return entry;
  }

  /** Adds a name that isn't there yet. */
  add(directory: number, path: string, start: number, end: number, inode: number, layer: number): number {
    if (this.#used >= this.#buckets.length) this.#rehash();
    const entry = this.#released.pop() ?? this.#extend();
    this.directory[entry] = directory;
    this.inode[entry] = inode;
    this.layer[entry] = layer;
    this.nameLength[entry] = end - start;
    this.#nameAt[entry] = this.#arena.put(path, start, end);
    this.#hashes[entry] = this.#hash(directory, path, start, end);
    this.#insert(entry);
    this.#used++;
    this.#reserveDirectory(directory);
    const last = this.last[directory]!;
    this.#previous[entry] = last;
    this.next[entry] = 0;
    if (last === 0) this.first[directory] = entry;
    else this.next[last] = entry;
    this.last[directory] = entry;
    return entry;
  }

  remove(entry: number): void {
    const directory = this.directory[entry]!;
    const bucket = this.#hashes[entry]! & (this.#buckets.length - 1);
    if (this.#buckets[bucket] === entry) this.#buckets[bucket] = this.#chain[entry]!;
    else {
      let before = this.#buckets[bucket]!;
      while (this.#chain[before] !== entry) before = this.#chain[before]!;
      this.#chain[before] = this.#chain[entry]!;
    }
    this.#used--;
    const previous = this.#previous[entry]!;
    const next = this.next[entry]!;
    if (previous === 0) this.first[directory] = next;
    else this.next[previous] = next;
    if (next === 0) this.last[directory] = previous;
    else this.#previous[next] = previous;
    this.#released.push(entry);
  }

  /** First entry of a directory, or 0; follow `next`. */
  firstEntry(directory: number): number {
    return this.first[directory] ?? 0;
  }

  /** The name's bytes, as a view. */
  nameBytes(entry: number): Buffer {
    return this.#arena.bytes(this.#nameAt[entry]!, this.nameLength[entry]!);
  }

  name(entry: number): ByteString {
    return this.nameBytes(entry).toString("latin1") as ByteString;
  }

  #hash(directory: number, path: string, start: number, end: number): number {
    let hash = this.#salt ^ Math.imul(directory, 0x9e3779b1);
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ path.charCodeAt(i), 0x01000193);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x85ebca6b);
    return (hash ^ (hash >>> 13)) >>> 0;
  }

  #insert(entry: number): void {
    const bucket = this.#hashes[entry]! & (this.#buckets.length - 1);
    this.#chain[entry] = this.#buckets[bucket]!;
    this.#buckets[bucket] = entry;
  }

  #rehash(): void {
    const old = this.#buckets;
    this.#buckets = new Uint32Array(old.length * 2);
    for (let head of old) {
      while (head !== 0) {
        const next = this.#chain[head]!;
        this.#insert(head);
        head = next;
      }
    }
  }

  #extend(): number {
    const entry = this.#count++;
    if (entry >= this.inode.length) {
      const capacity = entry * 2;
      this.directory = grown(this.directory, capacity);
      this.inode = grown(this.inode, capacity);
      this.layer = grown(this.layer, capacity);
      this.nameLength = grown(this.nameLength, capacity);
      this.next = grown(this.next, capacity);
      this.#nameAt = grown(this.#nameAt, capacity);
      this.#previous = grown(this.#previous, capacity);
      this.#chain = grown(this.#chain, capacity);
      this.#hashes = grown(this.#hashes, capacity);
    }
    return entry;
  }

  #reserveDirectory(directory: number): void {
    if (directory < this.first.length) return;
    const capacity = Math.max(directory + 1, this.first.length * 2);
    this.first = grown(this.first, capacity);
    this.last = grown(this.last, capacity);
  }
}

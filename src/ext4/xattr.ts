/** Extended attributes. Kernel docs: ext4/attributes.rst. */
import { aclFromDisk, aclToDisk } from "./acl.js";
import { crc32c, crc32cLong } from "./crc32c.js";
import { BLOCK_SIZE, INODE_SIZE } from "./geometry.js";
import { INLINE_XATTR_OFFSET } from "./inode.js";
import { struct, u8, u16, u32 } from "./struct.js";

export const XATTR_MAGIC = 0xea020000;
export const XATTR_BLOCK_HEADER_SIZE = 32;
export const XATTR_ENTRY_SIZE = 16;
/** More inodes than this can't share a block (EXT4_XATTR_REFCOUNT_MAX). */
export const MAX_XATTR_SHARERS = 1024;

export const xattrBlockLayout = struct({
  magic: u32(0),
  references: u32(4),
  blocks: u32(8),
  hash: u32(12),
  checksum: u32(16),
});
export const xattrEntryLayout = struct({
  nameLength: u8(0),
  nameIndex: u8(1),
  valueOffset: u16(2),
  valueInode: u32(4),
  valueSize: u32(8),
  hash: u32(12),
});

/** Name prefixes by index; 2 and 3 are whole names. */
const prefixes: readonly (readonly [number, string])[] = [
  [1, "user."],
  [2, "system.posix_acl_access"],
  [3, "system.posix_acl_default"],
  [4, "trusted."],
  [6, "security."],
  [7, "system."],
  [8, "system.richacl"],
];
const prefixOf = new Map(prefixes);
/** In which the writer stores; of `system.` the kernel takes nothing but the ACLs. */
const stored = prefixes.filter(([index]) => index <= 6);
/** Name index and name of inline data. */
export const INLINE_DATA_INDEX = 7;
export const INLINE_DATA_NAME = "data";

export interface StoredXattr {
  readonly index: number;
  /** Without the prefix. */
  readonly name: Buffer;
  readonly value: Buffer;
}

/** An attribute (its name a byte string) as it is stored; undefined for one that ext4 has no place for (other systems' namespaces, broken ACLs). */
export function toStored(fullName: string, value: Uint8Array): StoredXattr | undefined {
  const match = stored.find(([index, prefix]) =>
    index === 2 || index === 3 ? fullName === prefix : fullName.startsWith(prefix) && fullName.length > prefix.length,
  );
  if (!match) return undefined;
  const [index, prefix] = match;
  const name = Buffer.from(fullName.slice(prefix.length), "latin1");
  const bytes = index === 2 || index === 3 ? aclToDisk(value) : Buffer.from(value);
  return bytes && name.length <= 255 ? { index, name, value: bytes } : undefined;
}

/** Full name (a byte string) and value as the system calls give them; undefined for what they don't show. */
export function fromStored(index: number, name: Buffer, value: Buffer): readonly [string, Buffer] | undefined {
  const prefix = prefixOf.get(index);
  if (prefix === undefined || (index === INLINE_DATA_INDEX && name.toString("latin1") === INLINE_DATA_NAME))
    return undefined;
  const bytes = index === 2 || index === 3 ? aclFromDisk(value) : value;
  return bytes && [prefix + name.toString("latin1"), bytes];
}

/** The kernel searches blocks by this order: index, name length, name. */
function compare(a: StoredXattr, b: StoredXattr): number {
  return a.index - b.index || a.name.length - b.name.length || Buffer.compare(a.name, b.name);
}

const padded = (length: number): number => (length + 3) & ~3;
const entrySize = (xattr: StoredXattr): number =>
  XATTR_ENTRY_SIZE + padded(xattr.name.length) + padded(xattr.value.length);
/** Entries end with four zero bytes. */
const sizeOf = (xattrs: readonly StoredXattr[]): number => xattrs.reduce((sum, xattr) => sum + entrySize(xattr), 4);

/** Room after the magic number in an inode, and after the header of a block. */
const INLINE_ROOM = INODE_SIZE - INLINE_XATTR_OFFSET - 4;
const BLOCK_ROOM = BLOCK_SIZE - XATTR_BLOCK_HEADER_SIZE;

export interface EncodedXattrs {
  /** What goes into the inode from `INLINE_XATTR_OFFSET` on. */
  readonly inline: Buffer | undefined;
  /** What goes into a block; its reference count and checksum are set by `sealXattrBlock`. */
  readonly block: Buffer | undefined;
}

/** In the inode if all fit, else in a block, else the small ones in the inode; undefined if they don't fit at all. */
export function encodeXattrs(xattrs: readonly StoredXattr[]): EncodedXattrs | undefined {
  const sorted = [...xattrs].sort(compare);
  if (sizeOf(sorted) <= INLINE_ROOM) return { inline: encodeInline(sorted), block: undefined };
  const inline: StoredXattr[] = [];
  const block: StoredXattr[] = [];
  const overflow = sizeOf(sorted) > BLOCK_ROOM;
  for (const xattr of sorted) {
    if (overflow && sizeOf([...inline, xattr]) <= INLINE_ROOM) inline.push(xattr);
    else block.push(xattr);
  }
  if (sizeOf(block) > BLOCK_ROOM) return undefined;
  return { inline: inline.length > 0 ? encodeInline(inline) : undefined, block: encodeBlock(block) };
}

function encodeInline(xattrs: readonly StoredXattr[]): Buffer {
  const out = Buffer.alloc(INODE_SIZE - INLINE_XATTR_OFFSET);
  out.writeUInt32LE(XATTR_MAGIC, 0);
  encodeEntries(xattrs, out, 4, 4);
  return out;
}

function encodeBlock(xattrs: readonly StoredXattr[]): Buffer {
  const out = Buffer.alloc(BLOCK_SIZE);
  const hashes = encodeEntries(xattrs, out, XATTR_BLOCK_HEADER_SIZE, 0);
  const hash = hashes.includes(0) ? 0 : hashes.reduce((sum, h) => ((sum << 16) ^ (sum >>> 16) ^ h) >>> 0, 0);
  xattrBlockLayout.encode({ magic: XATTR_MAGIC, references: 1, blocks: 1, hash }, out);
  return out;
}

/** Entries grow from `at` upwards, values from the end downwards; value offsets count from `base`. */
function encodeEntries(xattrs: readonly StoredXattr[], out: Buffer, at: number, base: number): number[] {
  let entryAt = at;
  let valueAt = out.length;
  return xattrs.map(({ index, name, value }) => {
    valueAt -= padded(value.length);
    value.copy(out, valueAt);
    const hash = entryHash(name, value);
    xattrEntryLayout.encode(
      {
        nameLength: name.length,
        nameIndex: index,
        valueOffset: value.length === 0 ? 0 : valueAt - base,
        valueInode: 0,
        valueSize: value.length,
        hash,
      },
      out,
      entryAt,
    );
    name.copy(out, entryAt + XATTR_ENTRY_SIZE);
    entryAt += XATTR_ENTRY_SIZE + padded(name.length);
    return hash;
  });
}

function entryHash(name: Buffer, value: Buffer): number {
  let hash = 0;
  for (const byte of name) hash = (hash << 5) ^ (hash >>> 27) ^ byte;
  const words = Buffer.alloc(padded(value.length));
  value.copy(words);
  for (let at = 0; at < words.length; at += 4) hash = (hash << 16) ^ (hash >>> 16) ^ words.readUInt32LE(at);
  return hash >>> 0;
}

/** A copy of an encoded block for `references` inodes, checksummed for its place. */
export function sealXattrBlock(block: Buffer, references: number, blockNumber: number, seed: number): Buffer {
  const out = Buffer.from(block);
  xattrBlockLayout.encode({ references, checksum: 0 }, out);
  xattrBlockLayout.encode({ checksum: crc32c(crc32cLong(seed, blockNumber), out) }, out);
  return out;
}

/** From a raw header block and the extended headers before it to a tree entry. */
import type { ByteString } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { EntryType, Timespec, TreeEntry } from "../../support/tree.js";
import { corrupt, type Field, fields, isChecksum, readNumber, readText, typeFlags } from "./format.js";
import { type Climbing, checkSymlinkTarget, normalisePath } from "./paths.js";
import { type PaxRecords, parseCount, parsePaxTime } from "./pax.js";
import { type SparseRecords, sparseRecords } from "./sparse.js";

export interface RawHeader {
  readonly type: string;
  /** Bytes of body that follow, before padding. */
  readonly size: number;
  readonly block: Buffer;
  readonly isGnu: boolean;
}

/** Checks and reads what every kind of header has. The block is borrowed. */
export function readHeader(block: Buffer, position: number): RawHeader {
  if (!isChecksum(readNumber(block, fields.checksum), block))
    throw corrupt(position, "a header's checksum does not match");
  const size = readNumber(block, fields.size);
  if (size === undefined || size < 0) throw corrupt(position, "a header's size is not a number");
  return { type: String.fromCharCode(block[156]!), size, block, isGnu: holds(block, 257, "ustar  \0") };
}

/** Headers that stand before the entry they belong to. */
export interface Extension {
  readonly pax?: PaxRecords | undefined;
  readonly longName?: ByteString | undefined;
  readonly longLink?: ByteString | undefined;
}

export interface TarRules {
  readonly climbing?: Climbing;
  /** What to do with entries that only GNU tar writes: sparse files of the old form, dump directories, volume labels. */
  readonly gnu?: "read" | "refuse";
}

export interface ReadEntry {
  readonly entry: TreeEntry;
  /** Bytes of body in the archive. */
  readonly stored: number;
  readonly sparse?: SparseRecords | undefined;
}

const gnuTypes: ReadonlySet<string> = new Set([typeFlags.gnuSparse, typeFlags.gnuDumpDir]);

const entryTypes: Readonly<Record<string, EntryType>> = {
  "\0": "file",
  [typeFlags.file]: "file",
  [typeFlags.contiguous]: "file",
  [typeFlags.gnuSparse]: "file",
  [typeFlags.hardlink]: "hardlink",
  [typeFlags.symlink]: "symlink",
  [typeFlags.char]: "char",
  [typeFlags.block]: "block",
  [typeFlags.directory]: "directory",
  [typeFlags.gnuDumpDir]: "directory",
  [typeFlags.fifo]: "fifo",
};

/** Joins a header with its extensions. @throws AegisError TAR_CORRUPT, TAR_UNSUPPORTED */
export function readEntry(
  header: RawHeader,
  extension: Extension,
  options: { readonly position: number } & Required<TarRules>,
): ReadEntry {
  const { position, climbing, gnu } = options;
  const type = entryTypes[header.type];
  if (type === undefined || (gnu === "refuse" && gnuTypes.has(header.type))) throw unsupported(header.type, position);
  try {
    return joinEntry(header, type, extension, climbing);
  } catch (error) {
    if (error instanceof AegisError) throw error;
    throw corrupt(position, (error as Error).message);
  }
}

function joinEntry(
  header: RawHeader,
  declared: EntryType,
  { pax, longName, longLink }: Extension,
  climbing: Climbing,
): ReadEntry {
  const { block } = header;
  const sparse = pax && declared === "file" ? sparseRecords(pax) : undefined;
  const raw = (longName ?? sparse?.name ?? nonEmpty(pax, "path") ?? headerPath(header)) as ByteString;
  // Before POSIX a directory was a file whose name ended in a slash.
  const type = header.type === "\0" && raw.endsWith("/") ? "directory" : declared;
  const path = normalisePath(raw, climbing);
  if (path === "" && type !== "directory") throw new Error("an entry that is no directory has no name");
  const paxSize = nonEmpty(pax, "size");
  const bodySize = paxSize === undefined ? header.size : parseCount(paxSize);
  const hasBody = declared === "file" || header.type === typeFlags.gnuDumpDir;
  const link = () => longLink ?? nonEmpty(pax, "linkpath") ?? readText(block, fields.linkName);
  const { devMajor, devMinor } = type === "char" || type === "block" ? device(block) : noDevice;
  // Always of one shape: everything that looks at entries is faster for it.
  const entry: TreeEntry = {
    path,
    type,
    mode: (number(block, fields.mode, "mode") & 0o7777) >>> 0,
    uid: owner(pax, "uid", block, fields.uid),
    gid: owner(pax, "gid", block, fields.gid),
    mtime: modified(pax, block),
    size: type === "file" ? (sparse?.realSize ?? oldRealSize(header) ?? bodySize) : 0,
    linkTarget:
      type === "symlink"
        ? checkSymlinkTarget(link())
        : type === "hardlink"
          ? hardlinkTarget(link(), path, climbing)
          : undefined,
    devMajor,
    devMinor,
    xattrs: pax && pax.xattrs.size > 0 ? pax.xattrs : undefined,
  };
  return { entry, stored: hasBody ? bodySize : 0, sparse };
}

function headerPath({ block, isGnu }: RawHeader): ByteString {
  const name = readText(block, fields.name);
  if (isGnu || !holds(block, 257, "ustar")) return name;
  const isStar = holds(block, 508, "tar\0");
  const prefix = readText(block, isStar ? [fields.prefix[0], 131] : fields.prefix);
  return prefix === "" ? name : (`${prefix}/${name}` as ByteString);
}

function holds(block: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (block[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

const noDevice = { devMajor: undefined, devMinor: undefined };

const nonEmpty = (pax: PaxRecords | undefined, key: string): ByteString | undefined =>
  pax?.values.get(key) || undefined;

function number(block: Buffer, field: Field, name: string): number {
  const value = readNumber(block, field);
  if (value === undefined) throw new Error(`an entry's ${name} is not a number`);
  return value;
}

function owner(pax: PaxRecords | undefined, key: "uid" | "gid", block: Buffer, field: Field): number {
  const text = nonEmpty(pax, key);
  const value = text === undefined ? number(block, field, key) : parseCount(text);
  if (value < 0 || value > 0xffff_ffff) throw new Error(`an entry's ${key} does not fit in 32 bits`);
  return value;
}

function modified(pax: PaxRecords | undefined, block: Buffer): Timespec {
  const text = nonEmpty(pax, "mtime");
  return text === undefined ? { sec: number(block, fields.mtime, "mtime"), nsec: 0 } : parsePaxTime(text);
}

function oldRealSize({ type, block }: RawHeader): number | undefined {
  return type === typeFlags.gnuSparse ? number(block, fields.sparseRealSize, "size") : undefined;
}

function hardlinkTarget(link: ByteString, path: ByteString, climbing: Climbing): ByteString {
  const target = normalisePath(link, climbing);
  if (target === "") throw new Error("a hard link has no target");
  if (target === path) throw new Error("a hard link points to itself");
  return target;
}

function device(block: Buffer): { readonly devMajor: number; readonly devMinor: number } {
  const [devMajor, devMinor] = [number(block, fields.devMajor, "device"), number(block, fields.devMinor, "device")];
  // Linux: MINORBITS is 20, so a device number has 12 bits of major.
  if (devMajor < 0 || devMajor > 0xfff || devMinor < 0 || devMinor > 0xf_ffff) {
    throw new Error("a device's number is out of range");
  }
  return { devMajor, devMinor };
}

export function unsupported(type: string, position: number): AegisError {
  const shown = /^[\x21-\x7e]$/.test(type) ? `"${type}"` : `0x${type.charCodeAt(0).toString(16)}`;
  return new AegisError("TAR_UNSUPPORTED", `the tar archive has an entry of the unknown type ${shown}`, {
    hint: "make it with GNU tar, bsdtar or a container tool",
    details: { position },
  });
}

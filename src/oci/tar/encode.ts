/**
 * Tree entries to tar, byte for byte what Go's archive/tar writes for BuildKit: a plain ustar header, preceded by an
 * extended one only where ustar can't hold a value. The same tree gives the same bytes everywhere.
 */
import { type ByteString, byteString } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { EntryType, TreeEntry, TreeSink } from "../../support/tree.js";
import { blockSize, type Field, fields, paddingOf, typeFlags } from "./format.js";
import { encodePax, formatPaxTime, xattrKey } from "./pax.js";

export interface TarEncoder extends TreeSink {
  /** Writes the two zero blocks that end the archive. @throws AegisError TREE_INVALID when a file lacks content */
  end(): void;
}

const typeOf: Readonly<Record<EntryType, string>> = {
  file: typeFlags.file,
  directory: typeFlags.directory,
  symlink: typeFlags.symlink,
  hardlink: typeFlags.hardlink,
  char: typeFlags.char,
  block: typeFlags.block,
  fifo: typeFlags.fifo,
};

const zeros = Buffer.alloc(1 << 16);

/**
 * A sink that gives the archive to `write` piece by piece; pieces are borrowed. `drain` is the writer's own back-pressure.
 * @throws AegisError TREE_INVALID when content does not add up to the entry's size
 */
export function createTarEncoder(
  write: (chunk: Uint8Array) => void,
  drain: () => Promise<void> | undefined = () => undefined,
): TarEncoder {
  let remaining = 0;
  let padding = 0;

  function finishFile(): void {
    if (remaining > 0) throw invalid(`a file lacks ${remaining} bytes of its content`);
    if (padding > 0) write(zeros.subarray(0, padding));
    padding = 0;
  }

  function take(length: number): void {
    if (length > remaining) throw invalid("a file has more content than its size");
    remaining -= length;
  }

  return {
    entry(entry) {
      finishFile();
      for (const block of encodeHeader(entry)) write(block);
      remaining = entry.type === "file" ? entry.size : 0;
      padding = paddingOf(remaining);
    },
    data(chunk) {
      take(chunk.length);
      write(chunk);
    },
    hole(length) {
      take(length);
      for (let left = length; left > 0; left -= zeros.length) write(zeros.subarray(0, Math.min(left, zeros.length)));
    },
    drain,
    end() {
      finishFile();
      write(zeros.subarray(0, 2 * blockSize));
    },
  };
}

/** The blocks before an entry's content. */
export function encodeHeader(entry: TreeEntry): Buffer[] {
  const path = entry.type === "directory" && entry.path !== "" ? `${entry.path}/` : entry.path || "./";
  const records = new Map<string, ByteString>();
  const block = Buffer.alloc(blockSize);
  const isDevice = entry.type === "char" || entry.type === "block";
  const octal = (field: Field, value: number, key?: string) => {
    const fits = putOctal(block, field, value);
    if (!fits && key === undefined) throw invalid(`a device number of ${value} does not fit`);
    if (!fits) records.set(key!, String(value) as ByteString);
  };

  const split = splitPath(path);
  putName(block, fields.name, path, "path", records);
  octal(fields.mode, entry.mode);
  octal(fields.uid, entry.uid, "uid");
  octal(fields.gid, entry.gid, "gid");
  octal(fields.size, entry.type === "file" ? entry.size : 0, "size");
  octal(fields.mtime, entry.mtime.sec, "mtime");
  if (entry.mtime.nsec !== 0) records.set("mtime", formatPaxTime(entry.mtime) as ByteString);
  block.write(typeOf[entry.type], fields.type[0], "latin1");
  if (entry.linkTarget !== undefined) putName(block, fields.linkName, entry.linkTarget, "linkpath", records);
  octal(fields.devMajor, isDevice ? (entry.devMajor ?? 0) : 0);
  octal(fields.devMinor, isDevice ? (entry.devMinor ?? 0) : 0);
  for (const [name, value] of entry.xattrs ?? []) records.set(xattrKey(name), byteString(value));
  if (split && records.size === 1 && records.has("path")) {
    records.delete("path");
    block.fill(0, fields.name[0], fields.name[1]);
    block.write(split.name, fields.name[0], "latin1");
    block.write(split.prefix, fields.prefix[0], "latin1");
  }
  finishBlock(block);
  return records.size === 0 ? [block] : [...extendedHeader(path, encodePax(records)), block];
}

/** A long path divided as ustar can hold it, at the last slash that the prefix reaches. */
function splitPath(path: string): { readonly prefix: string; readonly name: string } | undefined {
  const [, nameLength] = fields.name;
  const [, prefixLength] = fields.prefix;
  if (path.length <= nameLength || toAscii(path) !== path) return undefined;
  const reach = path.length > prefixLength + 1 ? prefixLength + 1 : path.length - (path.endsWith("/") ? 1 : 0);
  const slash = path.lastIndexOf("/", reach - 1);
  const name = path.slice(slash + 1);
  if (slash <= 0 || name === "" || name.length > nameLength) return undefined;
  return { prefix: path.slice(0, slash), name };
}

function extendedHeader(path: string, body: Buffer): Buffer[] {
  const slash = path.lastIndexOf("/");
  const parts = [path.slice(0, slash + 1), "PaxHeaders.0", path.slice(slash + 1)].join("/").split("/");
  const name = toAscii(parts.filter((part) => part !== "").join("/")).slice(0, fields.name[1]);
  const block = Buffer.alloc(blockSize);
  block.write((path.startsWith("/") ? `/${name}` : name).replace(/\/+$/, ""), 0, "latin1");
  putOctal(block, fields.mode, 0);
  putOctal(block, fields.uid, 0);
  putOctal(block, fields.gid, 0);
  putOctal(block, fields.size, body.length);
  putOctal(block, fields.mtime, 0);
  block.write(typeFlags.paxHeader, fields.type[0], "latin1");
  finishBlock(block);
  return [block, body, zeros.subarray(0, paddingOf(body.length))];
}

/** A name as far as it fits; what ustar can't hold (long or not ASCII) is repeated whole in a record. */
function putName(
  block: Buffer,
  [offset, length]: Field,
  name: string,
  key: string,
  records: Map<string, ByteString>,
): void {
  const ascii = toAscii(name);
  if (name.length > length || ascii !== name) records.set(key, name as ByteString);
  let shown = ascii.slice(0, length);
  // Some readers take a cut name that ends in a slash for a directory.
  if (ascii.length > length && shown.endsWith("/")) shown = shown.replace(/\/+$/, "");
  block.write(shown, offset, "latin1");
}

/** Octal digits and a NUL; false (and zero) when they don't fit. */
function putOctal(block: Buffer, [offset, length]: Field, value: number): boolean {
  const fits = value >= 0 && value < 8 ** (length - 1);
  block.write((fits ? value : 0).toString(8).padStart(length - 1, "0"), offset, "latin1");
  return fits;
}

function finishBlock(block: Buffer): void {
  block.write("ustar\x0000", fields.magic[0], "latin1");
  let sum = 8 * 0x20;
  for (let i = 0; i < blockSize; i++) sum += block[i]!;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, fields.checksum[0], "latin1");
}

const toAscii = (text: string): string => text.replace(/[\x00\x80-\xff]/g, "");

const invalid = (what: string): AegisError => new AegisError("TREE_INVALID", `a tree can't be written as tar: ${what}`);

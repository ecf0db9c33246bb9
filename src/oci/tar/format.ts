/**
 * The tar header block. POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual "Basic Tar Format". All offsets are
 * in bytes; text and numbers are ASCII.
 */
import type { ByteString } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";

export const blockSize = 512;

/** name: [offset, length] */
export const fields = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 6],
  version: [263, 2],
  devMajor: [329, 8],
  devMinor: [337, 8],
  /** ustar: the path's beginning. star keeps it 131 bytes long and ends the block with `tar\0`. */
  prefix: [345, 155],
  /** Old GNU sparse: four pairs of offset and length. */
  sparseMap: [386, 96],
  sparseExtended: [482, 1],
  sparseRealSize: [483, 12],
} as const satisfies Record<string, readonly [number, number]>;

export type Field = readonly [offset: number, length: number];

export const typeFlags = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
  contiguous: "7",
  paxHeader: "x",
  paxGlobal: "g",
  solarisPax: "X",
  gnuLongName: "L",
  gnuLongLink: "K",
  gnuSparse: "S",
  gnuDumpDir: "D",
  gnuVolume: "V",
} as const;

/** Where in the archive it went wrong; `position` counts bytes of the uncompressed tar. */
export const corrupt = (position: number, what: string): AegisError =>
  new AegisError("TAR_CORRUPT", `the tar archive is corrupt near byte ${position}: ${what}`, {
    hint: "it may be truncated or no tar archive at all; make or fetch it again",
    details: { position },
  });

/** Bytes of a field up to its NUL, if it has one. */
export function readText(block: Buffer, [offset, length]: Field): ByteString {
  let end = offset;
  while (end < offset + length && block[end] !== 0) end++;
  return block.toString("latin1", offset, end) as ByteString;
}

/** An octal or base-256 number (GNU extension, star); undefined when it is neither or exceeds 2^53. */
export function readNumber(block: Buffer, [offset, length]: Field): number | undefined {
  const first = block[offset]!;
  if ((first & 0x80) !== 0) return readBase256(block, offset, length);
  let at = offset;
  let end = offset + length;
  while (at < end && (block[at] === 0x20 || block[at] === 0)) at++;
  while (end > at && (block[end - 1] === 0x20 || block[end - 1] === 0)) end--;
  let value = 0;
  for (; at < end; at++) {
    const digit = block[at]! - 0x30;
    // A NUL ends the number; what follows it is no part of the field.
    if (block[at] === 0) break;
    if (digit < 0 || digit > 7) return undefined;
    value = value * 8 + digit;
  }
  return value;
}

/** Two's complement, big-endian; the top bit of the first byte only marks the encoding. */
function readBase256(block: Buffer, offset: number, length: number): number | undefined {
  const negative = (block[offset]! & 0x40) !== 0;
  let value = negative ? -1n : 0n;
  for (let i = 0; i < length; i++) {
    const byte = i === 0 ? (block[offset]! & 0x7f) | (negative ? 0x80 : 0) : block[offset + i]!;
    value = BigInt.asIntN(112, (value << 8n) | BigInt(byte));
  }
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** Whether `stored` is the sum of the header's bytes, the checksum field taken as blanks. Every entry passes through here. */
export function isChecksum(stored: number | undefined, block: Uint8Array): boolean {
  let sum = 8 * 0x20;
  for (let i = 0; i < blockSize; i += 4) sum += block[i]! + block[i + 1]! + block[i + 2]! + block[i + 3]!;
  for (let i = 148; i < 156; i++) sum -= block[i]!;
  return stored === sum || stored === sum - 256 * highBytes(block);
}

/** Some old writers summed signed bytes. */
function highBytes(block: Uint8Array): number {
  let high = 0;
  for (let i = 0; i < blockSize; i++) if (block[i]! > 127 && (i < 148 || i >= 156)) high++;
  return high;
}

export function isZeroBlock(block: Buffer): boolean {
  for (let i = 0; i < blockSize; i++) if (block[i] !== 0) return false;
  return true;
}

export const paddingOf = (size: number): number => (blockSize - (size % blockSize)) % blockSize;

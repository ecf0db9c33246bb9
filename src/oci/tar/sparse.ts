/** GNU sparse files. GNU tar manual, "Storing Sparse Files": the old header, and pax formats 0.0, 0.1 and 1.0. */
import { type Field, fields, readNumber } from "./format.js";
import { type PaxRecords, parseCount } from "./pax.js";

/** One piece of a sparse file that is stored. */
export interface Segment {
  readonly offset: number;
  readonly length: number;
}

/** A map larger than this describes no real file; it bounds what a hostile archive can make us hold. */
export const maxSegments = 1 << 20;

/** Pairs of offset and length out of an old GNU header (`first` = 386, 4 pairs) or its extension block (0, 21 pairs). */
export function readOldMap(block: Buffer, first: number, pairs: number): Segment[] {
  const segments: Segment[] = [];
  for (let i = 0; i < pairs; i++) {
    const at = first + 24 * i;
    // An all-zero entry ends the map; a trailing (size, 0) one marks the file's end and stays.
    if (block[at] === 0) break;
    const [offset, length] = [readNumber(block, [at, 12] as Field), readNumber(block, [at + 12, 12] as Field)];
    if (offset === undefined || length === undefined) throw new Error("a sparse map holds no number");
    segments.push({ offset, length });
  }
  return segments;
}

export const oldMapIsExtended = (block: Buffer, at: number = fields.sparseExtended[0]): boolean => block[at] === 1;

/** What the pax records of one entry say about sparseness. */
export interface SparseRecords {
  readonly name?: string;
  readonly realSize?: number;
  /** `inline`: the map lies at the beginning of the content (format 1.0). */
  readonly map: readonly Segment[] | "inline";
}

export function sparseRecords(pax: PaxRecords): SparseRecords | undefined {
  const value = (key: string) => pax.values.get(`GNU.sparse.${key}`);
  const [major, minor, list] = [value("major"), value("minor"), value("map")];
  const inline = major === "1" && minor === "0";
  if (!inline && list === undefined && pax.sparse.length === 0) return undefined;
  const name = value("name");
  const realSize = value("realsize") ?? value("size");
  return {
    ...(name ? { name } : {}),
    ...(realSize ? { realSize: parseCount(realSize) } : {}),
    map: inline ? "inline" : pairsOf(pax.sparse.length > 0 ? pax.sparse : (list ?? "").split(",").map(parseCount)),
  };
}

function pairsOf(numbers: readonly number[]): Segment[] {
  if (numbers.length % 2 !== 0) throw new Error("a sparse map has half a pair");
  const segments: Segment[] = [];
  for (let i = 0; i < numbers.length; i += 2) segments.push({ offset: numbers[i]!, length: numbers[i + 1]! });
  return segments;
}

/** Takes the blocks of format 1.0's map (decimal numbers, one a line, the count of pairs first) until it is complete. */
export function createInlineMapReader(): (block: Buffer) => readonly Segment[] | undefined {
  const parts: string[] = [];
  let lines = 0;
  let wanted: number | undefined;
  return (block) => {
    parts.push(block.toString("latin1"));
    for (const byte of block) if (byte === 0x0a) lines++;
    if (wanted === undefined) {
      // No count has more digits than one block holds.
      if (lines === 0) throw new Error("a sparse map does not begin with its length");
      const count = parseCount(parts[0]!.slice(0, parts[0]!.indexOf("\n")));
      if (count > maxSegments) throw new Error("a sparse map is too long");
      wanted = 1 + 2 * count;
    }
    if (lines < wanted) {
      if (parts.length * block.length > 22 * wanted + block.length) throw new Error("a sparse map is too long");
      return undefined;
    }
    return pairsOf(parts.join("").split("\n").slice(1, wanted).map(parseCount));
  };
}

/** Checks that the pieces are in order, lie inside of the file and are exactly the `stored` bytes. */
export function checkSegments(segments: readonly Segment[], realSize: number, stored: number): void {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of segments) {
    if (offset < end || length < 0 || offset + length > realSize) throw new Error("a sparse map is out of order");
    end = offset + length;
    sum += length;
  }
  if (sum !== stored) throw new Error(`a sparse map describes ${sum} bytes where ${stored} are stored`);
}

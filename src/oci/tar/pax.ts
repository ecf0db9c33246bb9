/**
 * pax extended headers: `LENGTH KEY=VALUE\n` records, values raw bytes. POSIX.1-2017 pax "pax Extended Header"; the sparse
 * records are GNU tar's, the xattr records star's (SCHILY) and libarchive's.
 */
import { type ByteString, bytesOf } from "../../support/brands.js";
import type { Timespec } from "../../support/tree.js";

export interface PaxRecords {
  /** Every record's last value, except xattrs and the repeated sparse ones. */
  readonly values: ReadonlyMap<string, ByteString>;
  /** By name, a byte string. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** GNU sparse 0.0: the repeated offset and numbytes records, in order. */
  readonly sparse: readonly number[];
}

const schily = "SCHILY.xattr.";
const libarchive = "LIBARCHIVE.xattr.";

/** Parses an extended header's body. Throws a plain Error that says what is wrong; the caller knows where. */
export function parsePax(body: Buffer): PaxRecords {
  const values = new Map<string, ByteString>();
  const xattrs = new Map<string, Uint8Array>();
  const sparse: number[] = [];
  for (let at = 0; at < body.length; ) {
    // GNU tar pads the last record's block with NULs that its size counts when a header was edited in place.
    if (body[at] === 0) break;
    let blank = at;
    let length = 0;
    for (; isDigit(body[blank]) && blank - at < 9; blank++) length = length * 10 + body[blank]! - zero;
    const end = at + length;
    let equals = blank + 1;
    while (equals < end && body[equals] !== 0x3d) equals++;
    if (body[blank] !== 0x20 || length < 5 || end > body.length || body[end - 1] !== 0x0a || equals >= end - 1) {
      throw new Error("an extended header has a broken record");
    }
    addRecord(body.toString("latin1", blank + 1, equals), body.subarray(equals + 1, end - 1), values, xattrs, sparse);
    at = end;
  }
  return { values, xattrs, sparse };
}

const zero = 0x30;
const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= zero && byte <= 0x39;

function addRecord(
  key: string,
  value: Buffer,
  values: Map<string, ByteString>,
  xattrs: Map<string, Uint8Array>,
  sparse: number[],
): void {
  if (key === "" || key.includes("\0")) throw new Error("an extended header has a record without a name");
  if (key.startsWith(schily)) {
    xattrs.set(key.slice(schily.length), Uint8Array.from(value));
  } else if (key.startsWith(libarchive)) {
    const name = unescapePercent(key.slice(libarchive.length));
    if (!xattrs.has(name)) xattrs.set(name, Uint8Array.from(Buffer.from(value.toString("latin1"), "base64")));
  } else if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes") {
    if ((key === "GNU.sparse.offset") !== (sparse.length % 2 === 0)) throw new Error("a sparse map is out of order");
    sparse.push(parseCount(value.toString("latin1")));
  } else {
    values.set(key, value.toString("latin1") as ByteString);
  }
}

const unescapePercent = (text: string): string =>
  text.replace(/%([0-9a-fA-F]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));

/** A decimal that is not negative. */
export function parseCount(text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new Error(`"${text.slice(0, 40)}" is not a number`);
  return value;
}

/** `1700000000.123456789`, also negative; digits beyond the nanosecond are dropped. */
export function parsePaxTime(text: string): Timespec {
  const negative = text.startsWith("-");
  let at = negative ? 1 : 0;
  const first = at;
  let sec = 0;
  for (; isDigit(text.charCodeAt(at)) && at - first < 15; at++) sec = sec * 10 + text.charCodeAt(at) - zero;
  let nsec = 0;
  let isTime = at > first;
  if (at < text.length) {
    isTime &&= text[at++] === ".";
    for (let digit = 0; digit < 9; digit++) {
      nsec = nsec * 10 + (at + digit < text.length ? text.charCodeAt(at + digit) - zero : 0);
    }
    for (; at < text.length; at++) isTime &&= isDigit(text.charCodeAt(at));
  }
  if (!isTime) throw new Error(`"${text.slice(0, 40)}" is not a time`);
  if (!negative) return { sec, nsec };
  return nsec === 0 ? { sec: sec === 0 ? 0 : -sec, nsec: 0 } : { sec: -sec - 1, nsec: 1_000_000_000 - nsec };
}

export function formatPaxTime({ sec, nsec }: Timespec): string {
  if (nsec === 0) return String(sec);
  const negative = sec < 0;
  const whole = negative ? -(sec + 1) : sec;
  const fraction = String(negative ? 1_000_000_000 - nsec : nsec).padStart(9, "0");
  return `${negative ? "-" : ""}${whole}.${fraction.replace(/0+$/, "")}`;
}

/** Encodes records in the order of their keys, as Go's archive/tar does. Keys and values are raw bytes. */
export function encodePax(records: ReadonlyMap<string, ByteString>): Buffer {
  const keys = ([...records.keys()] as ByteString[]).sort((a, b) => Buffer.compare(bytesOf(a), bytesOf(b)));
  return Buffer.concat(keys.map((key) => encodeRecord(key, bytesOf(records.get(key)!))));
}

export const xattrKey = (name: string): string => `${schily}${name}`;

function encodeRecord(key: ByteString, value: Buffer): Buffer {
  const name = bytesOf(key);
  const bare = name.length + value.length + 3;
  let length = bare + String(bare).length;
  // The length counts its own digits: one more when they carry over.
  if (bare + String(length).length !== length) length = bare + String(length).length;
  return Buffer.concat([Buffer.from(`${length} `), name, Buffer.from("="), value, Buffer.from("\n")]);
}

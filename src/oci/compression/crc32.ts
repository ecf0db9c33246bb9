/** CRC-32 as gzip has it (RFC 1952 section 8): node:zlib's where it exists (20.15 and later), else by table. */
import * as zlib from "node:zlib";

type Crc32 = (data: Uint8Array, value?: number) => number;

const table = new Uint32Array(256).map((_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

export const portableCrc32: Crc32 = (data, value = 0) => {
  let c = ~value;
  for (const byte of data) c = table[(c ^ byte) & 0xff]! ^ (c >>> 8);
  return ~c >>> 0;
};

export const crc32: Crc32 = (zlib as unknown as { readonly crc32?: Crc32 }).crc32 ?? portableCrc32;

/**
 * CRC-32C (Castagnoli polynomial, reflected 0x82F63B78), the checksum of every metadata structure of ext4 and jbd2. The
 * kernel chains it without the customary inversions, so neither the start value nor the result is inverted here.
 */

/** Slicing by eight: table k advances a byte by k further zero bytes, so eight input bytes cost eight look-ups. */
const tables = (() => {
  const table = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    table[byte] = crc;
  }
  for (let at = 256; at < table.length; at++) {
    const previous = table[at - 256]!;
    table[at] = (previous >>> 8) ^ table[previous & 0xff]!;
  }
  return table;
})();

/** Continues `crc` over `bytes[start, end)`; start a chain with 0xffffffff. */
export function crc32c(crc: number, bytes: Uint8Array, start = 0, end = bytes.length): number {
  const t = tables;
  let at = start;
  for (const last = end - 7; at < last; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t[1792 + (low & 0xff)]! ^
      t[1536 + ((low >>> 8) & 0xff)]! ^
      t[1280 + ((low >>> 16) & 0xff)]! ^
      t[1024 + (low >>> 24)]! ^
      t[768 + bytes[at + 4]!]! ^
      t[512 + bytes[at + 5]!]! ^
      t[256 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!;
  return crc >>> 0;
}

const word = new Uint8Array(8);
const wordView = new DataView(word.buffer);

/** Continues `crc` over a little-endian 32-bit integer. */
export function crc32cWord(crc: number, value: number): number {
  wordView.setUint32(0, value, true);
  return crc32c(crc, word, 0, 4);
}

/** Continues `crc` over a little-endian 64-bit integer. */
export function crc32cLong(crc: number, value: number): number {
  wordView.setUint32(0, value >>> 0, true);
  wordView.setUint32(4, Math.floor(value / 2 ** 32), true);
  return crc32c(crc, word, 0, 8);
}

/** The half-MD4 hash of names that orders hashed directories. Kernel docs: ext4/directory.rst ("Hash Tree Directories"). */

export const HALF_MD4 = 1;
/** The highest hash marks the end of a directory, so no name may have it (EXT4_HTREE_EOF_32BIT). */
const END_OF_DIRECTORY = 0x7fffffff * 2;

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** Order of the input words, and shifts, of the three rounds. */
const order = Int8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 1, 3, 5, 7, 0, 2, 4, 6, 3, 7, 2, 6, 1, 5, 0, 4);
const shifts = Int8Array.of(3, 7, 11, 19, 3, 7, 11, 19, 3, 5, 9, 13, 3, 5, 9, 13, 3, 9, 11, 15, 3, 9, 11, 15);
const CONSTANT_2 = 0x5a827999;
const CONSTANT_3 = 0x6ed9eba1;

const words = new Int32Array(8);

/** Names are hashed 32 bytes at a time: bytes count from the most significant end, the length pads what is missing. */
function loadWords(name: Uint8Array, from: number): void {
  const left = name.length - from;
  let pad = (left | (left << 8)) & 0xffff;
  pad |= pad << 16;
  for (let word = 0; word < 8; word++) {
    let value = pad;
    for (let i = word * 4; i < Math.min(word * 4 + 4, left); i++) value = name[from + i]! + (value << 8);
    words[word] = value;
  }
}

/** Hash of a name, bytes taken as unsigned; the lowest bit is always 0. `seed` is the superblock's, four words. */
export function halfMd4(name: Uint8Array, seed: Int32Array): number {
  let a = seed[0]!;
  let b = seed[1]!;
  let c = seed[2]!;
  let d = seed[3]!;
  for (let from = 0; from < name.length; from += 32) {
    loadWords(name, from);
    const [a0, b0, c0, d0] = [a, b, c, d];
    for (let step = 0; step < 24; step++) {
      let mixed: number;
      if (step < 8) mixed = d ^ (b & (c ^ d));
      else if (step < 16) mixed = ((b & c) + ((b ^ c) & d) + CONSTANT_2) | 0;
      else mixed = ((b ^ c ^ d) + CONSTANT_3) | 0;
      const sum = (a + mixed + words[order[step]!]!) | 0;
      a = d;
      d = c;
      c = b;
      b = rotate(sum, shifts[step]!);
    }
    a = (a + a0) | 0;
    b = (b + b0) | 0;
    c = (c + c0) | 0;
    d = (d + d0) | 0;
  }
  const hash = (b & ~1) >>> 0;
  return hash === END_OF_DIRECTORY ? END_OF_DIRECTORY - 2 : hash;
}

const defaultSeed = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476] as const;

/** The seed as words; all zero stands for MD4's own. */
export function hashSeedWords(seed: Uint8Array): Int32Array {
  const view = new DataView(seed.buffer, seed.byteOffset, 16);
  const values = [0, 4, 8, 12].map((at) => view.getInt32(at, true));
  return Int32Array.from(values.some((value) => value !== 0) ? values : defaultSeed);
}

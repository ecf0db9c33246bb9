/** The half-MD4 hash of names that orders hashed directories. Kernel docs: ext4/directory.rst ("Hash Tree Directories"). */

export const HALF_MD4 = 1;
/** The highest hash marks the end of a directory, so no name may have it (EXT4_HTREE_EOF_32BIT). */
const END_OF_DIRECTORY = 0x7fffffff * 2;

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** Order of the input words, the additive constant and the shifts of the three rounds. */
const rounds = [
  { words: [0, 1, 2, 3, 4, 5, 6, 7], constant: 0, shifts: [3, 7, 11, 19] },
  { words: [1, 3, 5, 7, 0, 2, 4, 6], constant: 0x5a827999, shifts: [3, 5, 9, 13] },
  { words: [3, 7, 2, 6, 1, 5, 0, 4], constant: 0x6ed9eba1, shifts: [3, 9, 11, 15] },
] as const;

const functions = [
  (x: number, y: number, z: number) => z ^ (x & (y ^ z)),
  (x: number, y: number, z: number) => (x & y) + ((x ^ y) & z),
  (x: number, y: number, z: number) => x ^ y ^ z,
] as const;

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
  const state = Int32Array.from(seed);
  for (let from = 0; from < name.length; from += 32) {
    loadWords(name, from);
    let [a, b, c, d] = state as unknown as [number, number, number, number];
    for (const [index, round] of rounds.entries()) {
      const mix = functions[index]!;
      for (let i = 0; i < 8; i++) {
        const sum = (a + mix(b, c, d) + words[round.words[i]!]! + round.constant) | 0;
        [a, b, c, d] = [d, rotate(sum, round.shifts[i % 4]!), b, c];
      }
    }
    state[0]! += a;
    state[1]! += b;
    state[2]! += c;
    state[3]! += d;
  }
  const hash = (state[1]! & ~1) >>> 0;
  return hash === END_OF_DIRECTORY ? END_OF_DIRECTORY - 2 : hash;
}

const defaultSeed = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476] as const;

/** The seed as words; all zero stands for MD4's own. */
export function hashSeedWords(seed: Uint8Array): Int32Array {
  const view = new DataView(seed.buffer, seed.byteOffset, 16);
  const values = [0, 4, 8, 12].map((at) => view.getInt32(at, true));
  return Int32Array.from(values.some((value) => value !== 0) ? values : defaultSeed);
}

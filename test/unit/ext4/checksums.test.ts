import { describe, expect, it } from "vitest";
import { crc32c } from "../../../src/ext4/crc32c.js";
import { halfMd4, hashSeedWords } from "../../../src/ext4/directory-hash.js";

describe("crc32c", () => {
  it("gives the check value of the Castagnoli polynomial, and the same for any split of the input", () => {
    const text = Buffer.from("123456789");
    expect((crc32c(0xffffffff, text) ^ 0xffffffff) >>> 0).toBe(0xe3069283);
    const long = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7) & 0xff));
    const whole = crc32c(0xffffffff, long);
    for (const split of [1, 7, 8, 9, 500, 999]) {
      expect(crc32c(crc32c(0xffffffff, long, 0, split), long, split)).toBe(whole);
    }
  });
});

describe("the half-MD4 hash of names", () => {
  // Recorded from debugfs 1.47: dx_hash -h half_md4 [-s seed] NAME
  it.each([
    ["a", "00000000-0000-0000-0000-000000000000", "d5fa7d7a"],
    ["a", "00112233-4455-6677-8899-aabbccddeeff", "93752ee6"],
    ["hello.txt", "00000000-0000-0000-0000-000000000000", "a26e1d86"],
    ["hello.txt", "00112233-4455-6677-8899-aabbccddeeff", "fd21d2d0"],
    ["nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", "00000000-0000-0000-0000-000000000000", "7e81ef8a"],
    ["nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", "00112233-4455-6677-8899-aabbccddeeff", "c7aa7aea"],
    ["mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm", "00000000-0000-0000-0000-000000000000", "beaef5c6"],
    ["mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm", "00112233-4455-6677-8899-aabbccddeeff", "99b176b4"],
    [
      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
      "00000000-0000-0000-0000-000000000000",
      "2aa7169e",
    ],
    [
      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
      "00112233-4455-6677-8899-aabbccddeeff",
      "5966f920",
    ],
    ["package.json", "00000000-0000-0000-0000-000000000000", "aba9df92"],
    ["package.json", "00112233-4455-6677-8899-aabbccddeeff", "59a20b9a"],
  ])("of %s with seed %s is what debugfs says", (name, seed, hash) => {
    expect(halfMd4(Buffer.from(name), hashSeedWords(Buffer.from(seed.replaceAll("-", ""), "hex"))).toString(16)).toBe(
      hash,
    );
  });
});

/** Damage by chance, which a seed repeats, for fuzzers; and how long they look. */

/** AEGIS_FUZZ_SECONDS=3600 looks longer; AEGIS_FUZZ_SEED repeats a run. Two fuzzers make a minute. */
export const fuzzing = {
  seconds: Number(process.env.AEGIS_FUZZ_SECONDS ?? 30),
  seed: Number(process.env.AEGIS_FUZZ_SEED ?? 20),
};

/** Small, fast, and the same everywhere: xorshift32. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const BLOCK = 1024;
const awkward = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

/** Offsets of the blocks that hold anything; the rest is holes, where damage would seldom be found. */
export function usedBlocks(image: Buffer): number[] {
  const zeros = Buffer.alloc(BLOCK);
  const used: number[] = [];
  for (let at = 0; at + BLOCK <= image.length; at += BLOCK)
    if (image.compare(zeros, 0, BLOCK, at, at + BLOCK) !== 0) used.push(at);
  return used;
}

/** Some damage to some used blocks; what undoes it. */
export function damage(image: Buffer, used: readonly number[], random: (below: number) => number): () => void {
  const undo: (() => void)[] = [];
  for (let count = 1 + random(6); count > 0; count--) {
    const at = used[random(used.length)]! + (random(BLOCK) & ~3);
    const old = Buffer.from(image.subarray(at, at + 16));
    undo.push(() => old.copy(image, at));
    switch (random(5)) {
      case 0:
        image[at + random(4)]! ^= 1 << random(8);
        break;
      case 1:
        image.writeUInt32LE(awkward[random(awkward.length)]!, at);
        break;
      case 2:
        image.writeUInt16LE(awkward[random(awkward.length)]! & 0xffff, at + 2 * random(2));
        break;
      case 3:
        image.writeUInt32LE(random(image.length / 4096), at);
        break;
      default:
        moved(image, at, used[random(used.length)]! + (random(BLOCK - 16) & ~3));
        break;
    }
  }
  return () => {
    for (const step of undo.reverse()) step();
  };
}

/** Twelve bytes of one place in another: a pointer, an extent, an entry where it doesn't belong. */
const moved = (image: Buffer, to: number, from: number) => image.copyWithin(to, from, from + 12);

/** Damages `subjects` one at a time for as long as `fuzzing` says; `look` sees each damaged one, which is mended after it. */
export async function fuzz(
  subjects: readonly Buffer[],
  look: (subject: Buffer, random: (below: number) => number) => void | Promise<void>,
): Promise<number> {
  const used = subjects.map(usedBlocks);
  const random = randomNumbers(fuzzing.seed);
  const end = Date.now() + fuzzing.seconds * 1000;
  let runs = 0;
  for (; Date.now() < end; runs++) {
    const which = random(subjects.length);
    const undo = damage(subjects[which]!, used[which]!, random);
    await look(subjects[which]!, random);
    undo();
  }
  return runs;
}

/** Most memory that this process has had, in MiB: damage must not make anybody allocate without bound. */
export const peakMebibytes = (): number => process.resourceUsage().maxRSS / 1024;

/**
 * Layers to a disk: against unpacking and `mke2fs -d`, against copying the bytes, against gunzip and sha256 alone. With
 * AEGIS_BENCH_TREE=DIRECTORY the same on a real tree, too.
 */
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import {
  alternate,
  type Bench,
  type BenchLine,
  type BenchRow,
  bytes,
  ms,
  runTask,
  shell,
  timeShell,
} from "../bench.js";

interface Stored {
  readonly home: string;
  readonly file: string;
  /** Paths of the layers' blobs. */
  readonly blobs: readonly string[];
}

const row: BenchRow = async (bench) => {
  const tree = process.env.AEGIS_BENCH_TREE;
  return [...(await syntheticLines(bench)), ...(tree ? await treeLines(bench, path.resolve(tree)) : [])];
};

async function syntheticLines(bench: Bench): Promise<BenchLine[]> {
  const [size, files] = bench.heavy ? [1 << 30, 50_000] : [256 << 20, 12_800];
  const name = `${size >> 20} MB, ${files} files`;
  const plain = await stored(bench, "plain", size, files, 1, "none");
  const plainFour = await stored(bench, "plain4", size, files, 4, "none");
  const gzip = await stored(bench, "gzip", size, files, 1, "gzip");
  const gzipFour = await stored(bench, "gzip4", size, files, 4, "gzip");
  return [
    ...(await againstMke2fs(bench, plainFour, `${name}, 4 tar layers`, Math.ceil(size * 1.3))),
    ...(await againstCopy(bench, plain, `${name}, 1 tar layer`)),
    ...(await againstGunzip(bench, gzip, `${name}, 1 gzip layer`, 1.3)),
    ...(await againstGunzip(bench, gzipFour, `${name}, 4 gzip layers`, 1)),
  ];
}

async function treeLines(bench: Bench, tree: string): Promise<BenchLine[]> {
  const [size, files] = (await shell(`du -sb ${tree} | cut -f1; find ${tree} -type f | wc -l`)).trim().split("\n");
  const name = `${path.basename(tree)}, ${Number(size) >> 20} MB, ${files} files`;
  const tar = path.join(bench.scratch, "tree.tar");
  await shell(`tar --format=posix -C ${tree} -cf ${tar} .`);
  const plain = await packed(bench, "tree", tar, "none");
  const gzip = await packed(bench, "tree-gzip", tar, "gzip");
  await shell(`rm ${tar}`);
  return [
    ...(await againstMke2fs(bench, plain, `${name}, 1 tar layer`, Math.ceil(Number(size) * 1.6))),
    ...(await againstCopy(bench, plain, `${name}, 1 tar layer`)),
    ...(await againstGunzip(bench, gzip, `${name}, 1 gzip layer`, 1.3)),
  ];
}

async function stored(
  bench: Bench,
  tag: string,
  size: number,
  files: number,
  layers: number,
  compression: string,
): Promise<Stored> {
  const home = path.join(bench.scratch, tag);
  await mkdir(home, { recursive: true });
  const file = path.join(bench.scratch, `${tag}.json`);
  await runTask(bench, "store", home, file, String(size), String(files), String(layers), compression);
  return await storedAt(home, file);
}

async function packed(bench: Bench, tag: string, tar: string, compression: string): Promise<Stored> {
  const home = path.join(bench.scratch, tag);
  await mkdir(home, { recursive: true });
  const file = path.join(bench.scratch, `${tag}.json`);
  await runTask(bench, "pack", home, file, tar, compression);
  return await storedAt(home, file);
}

async function storedAt(home: string, file: string): Promise<Stored> {
  const image = JSON.parse(await readFile(file, "utf8")) as { layers: { digest: string }[] };
  const blob = (digest: string) => path.join(home, "images/blobs/sha256", digest.slice("sha256:".length));
  return { home, file, blobs: image.layers.map(({ digest }) => blob(digest)) };
}

/** The same starting point for both: no disk yet, the layers in the page cache, nothing waiting to be written. */
function reset(bench: Bench, { home, blobs }: Stored): () => Promise<unknown> {
  const work = path.join(bench.scratch, "work");
  const clean = `rm -rf ${home}/disks/* ${work}; mkdir -p ${work}; cat ${blobs.join(" ")} > /dev/null; sync`;
  return async () => await shell(clean);
}

async function againstMke2fs(bench: Bench, image: Stored, what: string, size: number): Promise<BenchLine[]> {
  const work = path.join(bench.scratch, "work");
  const layout = path.join(image.home, "images");
  const reference = (await shell(`umoci ls --layout ${layout}`)).trim().split("\n")[0];
  const unpack = `umoci unpack --image ${layout}:${reference} ${work}/bundle`;
  const disk = `${work}/disk.ext4`;
  const make = `mke2fs -q -t ext4 -d ${work}/bundle/rootfs ${disk} ${Math.ceil(size / 1024)}k && sync ${disk}`;
  const clean = reset(bench, image);
  const [ours, peer] = await alternate(
    bench.repeat,
    async () => await runTask(bench, "assemble", image.home, image.file),
    async () => await timeShell(`${unpack} && ${make}`),
    clean,
  );
  await clean();
  await shell(unpack);
  let alone = Number.POSITIVE_INFINITY;
  for (let round = 0; round < bench.repeat; round++) {
    await shell(`rm -f ${disk}; sync`);
    alone = Math.min(alone, await timeShell(make));
  }
  return [
    {
      what: `${what} to ext4`,
      ours: ms(ours.milliseconds),
      peer: { ...ms(peer), name: "umoci unpack + mke2fs -d" },
      goal: { text: "4 times faster", met: peer / ours.milliseconds >= 4 },
    },
    {
      what: `${what} to ext4`,
      ours: ms(ours.milliseconds),
      peer: { ...ms(alone), name: "mke2fs -d alone, unpacked before" },
    },
    memoryLine(what, ours.peakBytes),
  ];
}

/** Both kinds of copy: the bytes as they lie in one file, and the files that they stand for. */
async function againstCopy(bench: Bench, image: Stored, what: string): Promise<BenchLine[]> {
  const [work, tree] = [path.join(bench.scratch, "work"), path.join(bench.scratch, "unpacked")];
  const clean = reset(bench, image);
  const goal = (ours: number, peer: number) => ({ text: "0.6 of cp's speed", met: peer / ours >= 0.6 });
  const assemble = async () => await runTask(bench, "assemble", image.home, image.file);
  const [ours, peer] = await alternate(
    bench.repeat,
    assemble,
    async () => await timeShell(`cp ${image.blobs.join(" ")} ${work}/copy && sync ${work}/copy`),
    clean,
  );
  const unpack = image.blobs.map((blob) => `tar -xf ${blob} -C ${tree}`).join(" && ");
  await shell(`mkdir ${tree} && ${unpack}`);
  const [oursAgain, files] = await alternate(
    bench.repeat,
    assemble,
    async () => await timeShell(`cp -r ${tree} ${work}/copy && sync -f ${work}/copy`),
    async () => {
      await clean();
      await shell(`find ${tree} -type f -print0 | xargs -0 cat > /dev/null`);
    },
  );
  await shell(`rm -rf ${tree} ${work}/copy`);
  return [
    {
      what: `${what} to ext4`,
      ours: ms(ours.milliseconds),
      peer: { ...ms(peer), name: "cp + sync of the tar" },
      goal: goal(ours.milliseconds, peer),
    },
    {
      what: `${what} to ext4`,
      ours: ms(oursAgain.milliseconds),
      peer: { ...ms(files), name: "cp -r + sync of the tree" },
      goal: goal(oursAgain.milliseconds, files),
    },
    memoryLine(what, Math.max(ours.peakBytes, oursAgain.peakBytes)),
  ];
}

async function againstGunzip(bench: Bench, image: Stored, what: string, limit: number): Promise<BenchLine[]> {
  const floor = image.blobs.map((blob) => `gzip -dc ${blob} | sha256sum`).join(" && ");
  const [ours, peer] = await alternate(
    bench.repeat,
    async () => await runTask(bench, "assemble", image.home, image.file),
    async () => await timeShell(floor),
    reset(bench, image),
  );
  return [
    {
      what: `${what} to ext4`,
      ours: ms(ours.milliseconds),
      peer: { ...ms(peer), name: "gzip -dc | sha256sum alone" },
      goal: { text: `within ${limit} of it`, met: ours.milliseconds / peer <= limit },
    },
    memoryLine(what, ours.peakBytes),
  ];
}

function memoryLine(what: string, peak: number): BenchLine {
  return { what: `peak memory, ${what}`, ours: bytes(peak), goal: { text: "under 256 MiB", met: peak < 256 << 20 } };
}

export default row;

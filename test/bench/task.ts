/** What a bench measures of aegis itself, each in a process of its own: `node task.mjs NAME WORDS...` prints JSON. */
import { open, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { beginImage } from "../../src/oci/ensure.js";
import { writeLayer } from "../../src/oci/layers.js";
import { pullImage } from "../../src/oci/registry/pull.js";
import { pushImage } from "../../src/oci/registry/push.js";
import { openImageStore } from "../../src/oci/store.js";
import { decodeTar } from "../../src/oci/tar/decode.js";
import { ensureRootDisks, type RootImage } from "../../src/rootfs/disks.js";
import { createWritableDisk } from "../../src/rootfs/writable.js";
import { openHome } from "../../src/support/home.js";
import type { TreeSink } from "../../src/support/tree.js";
import { treeEntry } from "../helpers/tree-lines.js";
import { pushSynthetic } from "./synthetic.js";

const [name, homeRoot, ...words] = process.argv.slice(2) as [string, string, ...string[]];
const home = openHome({ ...process.env, AEGIS_HOME: homeRoot });

type Facts = Readonly<Record<string, number>>;

const tasks: Readonly<Record<string, () => Promise<() => Promise<Facts>>>> = {
  /** IMAGE BYTES FILES LAYERS COMPRESSION: stores a synthetic image under the file IMAGE. Not measured. */
  async store() {
    const [file, bytes, files, layers, compression] = words as [string, string, string, string, "none" | "gzip"];
    return async () => {
      const of = Number(layers);
      const produce = Array.from({ length: of }, (_, index) => async (sink: TreeSink) => {
        await pushSynthetic({ bytes: Number(bytes), files: Number(files), share: { index, of } }, sink);
      });
      await storeImage(
        file,
        { layers: [], config: { rootfs: { type: "layers", diff_ids: [] } } },
        produce,
        compression,
      );
      return {};
    };
  },

  /** IMAGE TAR COMPRESSION: stores a tar as an image of one layer. Not measured. */
  async pack() {
    const [file, tar, compression] = words as [string, string, "none" | "gzip"];
    return async () => {
      const produce = async (sink: TreeSink) => {
        await using source = await open(tar);
        await decodeTar(source, sink);
      };
      await storeImage(
        file,
        { layers: [], config: { rootfs: { type: "layers", diff_ids: [] } } },
        [produce],
        compression,
      );
      return {};
    };
  },

  /** IMAGE CHANGED TEXT: the image with one more layer, which changes one file. Not measured. */
  async change() {
    const [file, changed, text] = words as [string, string, string];
    return async () => {
      const image = JSON.parse(await readFile(file, "utf8")) as RootImage;
      const produce = async (sink: TreeSink) => {
        sink.entry(treeEntry("node_modules/package-0/lib-0/file-0.js", "file", { size: text.length }));
        sink.data(Buffer.from(text));
      };
      await storeImage(changed, { ...image, baseLayers: image.layers.length }, [produce], "gzip");
      return {};
    };
  },

  /** IMAGE: its disks, from the stored layers. */
  async assemble() {
    const image = JSON.parse(await readFile(words[0]!, "utf8")) as RootImage;
    const store = await openImageStore(home.images);
    return async () => {
      const disks = await ensureRootDisks(home, store, image);
      const top = disks.lowers.at(-1)!;
      const { size, blocks } = await stat(top.path);
      await store.close();
      return { disks: disks.lowers.length, size, allocated: blocks * 512 };
    };
  },

  /** NAME: what `aegis run` does before it boots: pulls, and makes disks of the layers while they arrive. */
  async pull() {
    const store = await openImageStore(home.images);
    return async () => {
      const { image, layerReady, finished } = await beginImage(store, words[0]!, { pull: "always" });
      const { config, manifest } = image;
      const disks = ensureRootDisks(home, store, { config, layers: manifest.layers }, { layerReady });
      await Promise.all([disks, finished]);
      await store.close();
      return { layers: manifest.layers.length };
    };
  },

  /** NAME: only fetches it. */
  async fetch() {
    const store = await openImageStore(home.images);
    return async () => {
      await pullImage(store, words[0]!);
      await store.close();
      return {};
    };
  },

  /** NAME, under which the store has it. */
  async push() {
    const store = await openImageStore(home.images);
    return async () => {
      await pushImage(store, words[0]!);
      await store.close();
      return {};
    };
  },

  /** IMAGE BYTES: a writable disk over the image's disks. */
  async writable() {
    const image = JSON.parse(await readFile(words[0]!, "utf8")) as RootImage;
    const store = await openImageStore(home.images);
    const disks = await ensureRootDisks(home, store, image);
    await store.close();
    return async () => {
      const file = path.join(home.instances, `writable-${process.pid}.ext4`);
      await createWritableDisk(file, { sizeBytes: Number(words[1]), uuid: Buffer.alloc(16, 1), disks });
      const { size, blocks } = await stat(file);
      return { size, allocated: blocks * 512 };
    };
  },
};

async function storeImage(
  file: string,
  below: RootImage,
  produce: readonly ((sink: TreeSink) => Promise<void>)[],
  compression: "none" | "gzip",
): Promise<void> {
  const store = await openImageStore(home.images);
  const layers = [...below.layers];
  const diffIds = [...below.config.rootfs.diff_ids];
  for (const push of produce) {
    const written = await writeLayer(store, push, { compression });
    layers.push(written.descriptor);
    diffIds.push(written.diffId);
  }
  const config = {
    architecture: "amd64",
    os: "linux",
    config: {},
    rootfs: { type: "layers", diff_ids: diffIds },
  } as const;
  // Under a name, so that other tools find it in the layout.
  await store.putImage({ config, layers }, [`bench:${path.basename(file, ".json")}`]);
  await store.close();
  await writeFile(file, JSON.stringify({ config, layers, baseLayers: below.baseLayers }));
}

const prepare = tasks[name];
if (!prepare) throw new Error(`no such task: ${name}`);
const work = await prepare();
const started = process.hrtime.bigint();
const facts = await work();
const milliseconds = Number(process.hrtime.bigint() - started) / 1e6;
process.stdout.write(JSON.stringify({ milliseconds, peakBytes: process.resourceUsage().maxRSS * 1024, facts }));

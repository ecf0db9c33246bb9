/** Layers of tests as blobs of a real store in a home of their own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { writeLayer } from "../../src/oci/layers.js";
import { type ImageStore, openImageStore } from "../../src/oci/store.js";
import type { RootImage } from "../../src/rootfs/disks.js";
import { type AegisHome, openHome } from "../../src/support/home.js";
import type { TreeSink } from "../../src/support/tree.js";
import { type Layer, pushLayer } from "./layer-stacks.js";

export interface TestStore extends AsyncDisposable {
  readonly home: AegisHome;
  readonly store: ImageStore;
  /** Stores the layers, compressed in turn as gzip and not at all, and gives the image that they make. */
  image(stack: readonly (Layer | ((sink: TreeSink) => Promise<void>))[], baseLayers?: number): Promise<RootImage>;
}

export async function openTestStore(): Promise<TestStore> {
  const root = await mkdtemp(path.join(tmpdir(), "aegis-test-"));
  const home = openHome({ AEGIS_HOME: path.join(root, "home") });
  const store = await openImageStore(home.images);
  return {
    home,
    store,
    async image(stack, baseLayers) {
      const written = [];
      for (const [index, layer] of stack.entries()) {
        const produce = typeof layer === "function" ? layer : async (sink: TreeSink) => pushLayer(layer, sink);
        written.push(await writeLayer(store, produce, { compression: index % 2 === 0 ? "gzip" : "none" }));
      }
      return {
        config: { rootfs: { type: "layers", diff_ids: written.map(({ diffId }) => diffId) } },
        layers: written.map(({ descriptor }) => descriptor),
        baseLayers,
      };
    },
    async [Symbol.asyncDispose]() {
      await store.close();
      await rm(root, { recursive: true, force: true });
      await rm(home.sockets, { recursive: true, force: true });
    },
  };
}

/**
 * The root filesystem that a stage has reached: its layers, and what of them is at hand as disks. Layers that an earlier
 * build made are assembled into image disks that stay; layers of this build are overlaid one by one from temporary disks,
 * so that a RUN never waits for anything but what it needs.
 */
import { open } from "node:fs/promises";
import { chainIds } from "../oci/digests.js";
import type { RootDisks } from "../rootfs/types.js";
import type { TreeView as DiskView } from "../rootfs/view.js";
import type { ByteString, ChainId } from "../support/brands.js";
import type { BuildEnvironment } from "./environment.js";
import type { Lower } from "./executors/types.js";
import type { LayerRef } from "./steps/step.js";
import { LayerIndex, stackView } from "./tree/layer-index.js";
import { emptyView, type TreeView } from "./tree/view.js";

interface StackedLayer {
  readonly layer: LayerRef;
  /** Made by this build: an image disk that holds it would be of no use to the next. */
  readonly fresh: boolean;
  index?: LayerIndex | undefined;
  /** An overlay lower that holds just this layer. */
  disk?: Lower | undefined;
}

export interface FreshLayer {
  readonly index?: LayerIndex | undefined;
  /** Scratch disk of the RUN that made it. */
  readonly scratch?: string | undefined;
}

export class RootStack {
  readonly #environment: BuildEnvironment;
  readonly #layers: StackedLayer[];
  readonly #base: number;
  #lookups: { readonly length: number; readonly view: Promise<TreeView> } | undefined;
  #lowers: { readonly length: number; readonly lowers: Promise<readonly Lower[]> } | undefined;

  private constructor(environment: BuildEnvironment, layers: StackedLayer[], base: number) {
    this.#environment = environment;
    this.#layers = layers;
    this.#base = base;
  }

  static of(environment: BuildEnvironment, layers: readonly LayerRef[]): RootStack {
    return new RootStack(
      environment,
      layers.map((layer) => ({ layer, fresh: false })),
      layers.length,
    );
  }

  /** The start of a stage that is built from this one. */
  fork(): RootStack {
    return new RootStack(this.#environment, [...this.#layers], this.#base);
  }

  get layers(): readonly LayerRef[] {
    return this.#layers.map(({ layer }) => layer);
  }

  /** How many of the layers came together as an image. */
  get baseLayers(): number {
    return this.#base;
  }

  /** Identity of the tree; the empty tree's is empty. */
  get chainId(): ChainId | "" {
    return chainIds(this.#layers.map(({ layer }) => layer.diffId)).at(-1) ?? "";
  }

  push(layer: LayerRef, fresh?: FreshLayer): void {
    const disk: Lower | undefined =
      fresh?.scratch === undefined ? undefined : { disk: fresh.scratch, directory: "/upper" };
    this.#layers.push({ layer, fresh: fresh !== undefined, index: fresh?.index, disk });
  }

  /** For looking things up; content of files of layers above the base comes from `contents`. */
  lookups(): Promise<TreeView> {
    if (this.#lookups?.length !== this.#layers.length) {
      this.#lookups = { length: this.#layers.length, view: this.#openLookups() };
    }
    return this.#lookups.view;
  }

  async #openLookups(): Promise<TreeView> {
    const indexes: LayerIndex[] = [];
    for (const stacked of this.#layers.slice(this.#base)) {
      stacked.index ??= await this.#indexOf(stacked.layer);
      indexes.push(stacked.index);
    }
    const base = this.#base === 0 ? emptyView : fromDisks(await this.#viewOf(await this.#imageDisks(this.#base)));
    return stackView(base, indexes, async (path, sink) => await (await this.contents()).read(path, sink));
  }

  async #indexOf(layer: LayerRef): Promise<LayerIndex> {
    const index = new LayerIndex();
    const { readLayer } = await import("../oci/layers.js");
    await this.#environment.layers.ready(layer.descriptor);
    await readLayer(this.#environment.store, layer.descriptor, index.recorder(), { diffId: layer.diffId });
    return index;
  }

  /** The whole tree with its content. */
  async contents(): Promise<TreeView> {
    return this.#layers.length === 0 ? emptyView : fromDisks(await this.diskContents());
  }

  /** The same as the disks' own room sees it. */
  async diskContents(): Promise<DiskView> {
    return await this.#viewOf(await this.lowers());
  }

  async #viewOf(lowers: readonly Lower[]): Promise<DiskView> {
    const [{ openDisk }, { overlayView }] = await Promise.all([
      import("../rootfs/disk-tree.js"),
      import("../rootfs/overlay.js"),
    ]);
    const trees = lowers.map(({ disk, directory }) => {
      const tree = openDisk(disk, { top: directory.slice(1) as ByteString });
      this.#environment.closeAtEnd(tree);
      return tree.view;
    });
    return overlayView(trees);
  }

  /** Disks for an overlay mount on this host, bottom first. */
  lowers(): Promise<readonly Lower[]> {
    if (this.#lowers?.length !== this.#layers.length) {
      this.#lowers = { length: this.#layers.length, lowers: this.#openLowers() };
    }
    return this.#lowers.lowers;
  }

  async #openLowers(): Promise<readonly Lower[]> {
    // From here on every layer has a disk of its own or can get one from its blob alone: it was made by COPY or WORKDIR.
    let kept = this.#layers.findLastIndex(({ fresh }) => !fresh) + 1;
    if (kept === 0 && this.#layers.length === 0) return [];
    kept = Math.max(kept, this.#base);
    const lowers: Lower[] = kept === 0 ? [] : [...(await this.#imageDisks(kept))];
    for (const stacked of this.#layers.slice(kept)) {
      stacked.disk ??= await this.#layerDisk(stacked.layer);
      lowers.push(stacked.disk);
    }
    return lowers;
  }

  /** At most two disks that hold everything, for a machine with few disks. */
  async imageDisks(): Promise<readonly Lower[]> {
    return this.#layers.length === 0 ? [] : await this.#imageDisks(this.#layers.length);
  }

  /** The image's own disks, as `run` will use them. */
  async rootDisks(): Promise<RootDisks> {
    return await this.#ensure(this.#layers.length);
  }

  /** The finished tree on these disks; undefined when there are no layers. */
  async finalDisks(): Promise<DiskView | undefined> {
    return this.#layers.length === 0 ? undefined : await this.#viewOf(await this.imageDisks());
  }

  async #imageDisks(length: number): Promise<readonly Lower[]> {
    const { lowers } = await this.#ensure(length);
    return lowers.map(({ path }) => ({ disk: path, directory: "/" }));
  }

  async #ensure(length: number): Promise<RootDisks> {
    const { ensureRootDisks } = await import("../rootfs/disks.js");
    const layers = this.#layers.slice(0, length).map(({ layer }) => layer);
    const { home, store, layers: supply, request } = this.#environment;
    const image = {
      config: { rootfs: { type: "layers" as const, diff_ids: layers.map((it) => it.diffId) } },
      layers: layers.map((it) => it.descriptor),
      baseLayers: this.#base,
    };
    return await ensureRootDisks(home, store, image, {
      signal: request.signal,
      layerReady: (layer) => supply.ready(layer),
    });
  }

  async #layerDisk(layer: LayerRef): Promise<Lower> {
    const [{ createExt4Writer }, { readLayer }, { randomBytes }] = await Promise.all([
      import("../ext4/index.js"),
      import("../oci/layers.js"),
      import("node:crypto"),
    ]);
    await this.#environment.layers.ready(layer.descriptor);
    const disk = await this.#environment.temporary("layer.ext4");
    await using file = await open(disk, "wx", 0o600);
    await using writer = createExt4Writer({ fd: file.fd }, { uuid: randomBytes(16), journal: false });
    await readLayer(this.#environment.store, layer.descriptor, writer, { diffId: layer.diffId });
    await writer.finish();
    return { disk, directory: "/" };
  }
}

/** A disk's tree as the builder asks for it. */
export function fromDisks(view: DiskView): TreeView {
  return {
    async lstat(path) {
      const node = await view.lookup(path);
      if (!node || node.entry.type === "hardlink") return undefined;
      const { entry, identity, links } = node;
      return { ...entry, type: node.entry.type, inode: links > 1 ? identity : undefined };
    },
    readdir: (path) => view.list(path),
    read: (path, sink) => view.copyContent(path, sink),
  };
}

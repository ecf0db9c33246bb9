/**
 * Merges layers, bottom first, into one tree: whiteouts and opaque markers are resolved, later layers win, links across
 * layers are kept. Over a `lower` disk the result is an overlay lower instead: what a layer removes from that disk stays
 * as a whiteout device or an opaque mark. OCI image spec, layer.md "Applying Changesets"; kernel docs, overlayfs.rst.
 */
import { parseWhiteout } from "../oci/whiteouts.js";
import { type ByteString, decodeText } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { TreeEntry, TreeSink } from "../support/tree.js";
import { joinPath, splitPath } from "../support/tree-paths.js";
import { addChild, childOf, createRoot, type MergeNode, pathOf } from "./merge-tree.js";
import { isWhiteout, opaqueXattr, whiteoutDevice, withoutOverlayXattrs } from "./overlay-marks.js";

/** Where the merged tree goes: a filesystem under construction. */
export interface MergeTarget extends TreeSink {
  /** Removes a name that was pushed before, and with a directory everything in it. */
  remove(path: ByteString): void;
}

/** A finished tree below the one that is being merged. Paths are exact: no symlink is followed. */
export interface LowerTree {
  /** Undefined when nothing is there. The `path` of the answer is the one asked for. */
  lookup(path: ByteString): TreeEntry | undefined;
  /** Pushes the content of the file at `path`: `data` and `hole` calls that add up to its size. */
  copyContent(path: ByteString, sink: TreeSink): Promise<void>;
}

/** Thrown when a stack can't be an overlay lower (its root is opaque) and must become a disk of its own. */
export class NotADelta extends Error {}

/** As the kernel's MAXSYMLINKS. */
const maxLinks = 40;

export class LayerMerger implements TreeSink {
  readonly #root = createRoot();
  readonly #target: MergeTarget;
  readonly #lower: LowerTree | undefined;
  #layer = -1;
  /** Whether content belongs to an entry that was passed on. */
  #passing = false;
  /** Of the entry before: most entries share their directory with it. */
  #lastDirectory: LastDirectory | undefined;
  /** Files of the disk below, by their path there, that wait for the end of the layer to be copied up. */
  readonly #copyUps = new Map<ByteString, CopyUp>();
  /** Which of them a new name stands for. */
  readonly #copiedNames = new Map<ByteString, CopyUp>();

  constructor(target: MergeTarget, lower?: LowerTree) {
    this.#target = target;
    this.#lower = lower;
    const root = lower?.lookup("" as ByteString);
    if (root) this.#push(this.#root, withoutOverlayXattrs(root));
  }

  /** Entries that follow belong to the next layer up. */
  beginLayer(): void {
    this.#layer++;
    this.#lastDirectory = undefined;
  }

  entry(entry: TreeEntry): void {
    this.#passing = false;
    const whiteout = parseWhiteout(entry.path);
    if (whiteout?.kind === "whiteout") this.#whiteOut(whiteout.path);
    else if (whiteout) this.#makeOpaque(whiteout.path);
    // A 0:0 character device is a whiteout to the kernel's overlay, so it can be nothing else to us.
    else if (isWhiteout(entry)) this.#whiteOut(entry.path);
    else this.#add(withoutOverlayXattrs(entry));
  }

  data(chunk: Uint8Array): void {
    if (this.#passing) this.#target.data(chunk);
  }

  hole(length: number): void {
    if (this.#passing) this.#target.hole(length);
  }

  drain(): Promise<void> | undefined {
    return this.#target.drain();
  }

  /** Copies up files of the disk below that the layer made more links to. */
  async endLayer(): Promise<void> {
    for (const { below, names } of this.#copyUps.values()) {
      const [first, ...others] = names;
      if (first === undefined) continue;
      const entry = { ...withoutOverlayXattrs(below), path: first };
      this.#target.entry(entry);
      await this.#lower!.copyContent(below.path, this.#target);
      for (const path of others) {
        this.#target.entry({ ...entry, path, type: "hardlink", size: 0, linkTarget: first, xattrs: undefined });
      }
    }
    this.#copyUps.clear();
    this.#copiedNames.clear();
  }

  /** Leaves the marks that hide what the disk below has. Nothing may follow. */
  finish(): void {
    if (!this.#lower) return;
    if (this.#root.cut) throw new NotADelta();
    this.#leaveMarks(this.#root, this.#lower);
  }

  #add(entry: TreeEntry): void {
    if (entry.path === "") {
      if (entry.type === "directory") this.#push(this.#root, entry);
      return;
    }
    const [directory, name] = splitPath(entry.path);
    const parent = this.#directory(directory, entry);
    // Where its parent was reached through symlinks, the entry is elsewhere than it says.
    const isMoved = directory !== "" && this.#lastDirectory!.isMoved;
    const path = isMoved ? joinPath(pathOf(parent), name) : entry.path;
    const node = childOf(parent, name);
    if (entry.type === "hardlink" && entry.linkTarget === path && node && node.kind !== "gone") return;
    if (node && node.kind !== "gone" && !(node.kind === "directory" && entry.type === "directory")) {
      this.#drop(node, path);
    }
    const placed = node ?? addChild(parent, name, "other", this.#layer);
    const moved = isMoved ? { ...entry, path } : entry;
    if (entry.type === "hardlink") this.#link(placed, moved);
    else this.#push(placed, moved);
  }

  /** Puts `entry` at `node` and passes it on. */
  #push(node: MergeNode, entry: TreeEntry): void {
    node.layer = this.#layer;
    if (entry.type === "directory") {
      node.kind = "directory";
      node.children ??= new Map();
      node.entry = this.#lower ? entry : undefined;
    } else {
      node.kind = entry.type === "symlink" ? "symlink" : "other";
      node.children = undefined;
      node.entry = undefined;
      node.cut = true;
    }
    node.target = entry.type === "symlink" ? entry.linkTarget : undefined;
    this.#passing = entry.type === "file";
    this.#target.entry(entry);
  }

  #link(node: MergeNode, entry: TreeEntry): void {
    const found = this.#locate(entry.linkTarget!);
    if (!found || found.kind === "directory") {
      throw new AegisError(
        "LAYER_CORRUPT",
        `the layer links ${shown(entry.path)} to ${shown(entry.linkTarget!)}, which no file is`,
        {
          hint: "the image was not built correctly; build it again or pull it anew",
        },
      );
    }
    node.kind = "other";
    node.layer = this.#layer;
    node.cut = true;
    node.children = undefined;
    if (found.below) this.#copyUp(found.below);
    const copyUp = this.#copiedNames.get(found.path);
    if (copyUp) this.#nameCopy(copyUp, entry.path);
    else this.#target.entry({ ...entry, linkTarget: found.path });
  }

  /** A new link to a file of the disk below needs that file beside it, as in the kernel's copy-up. */
  #copyUp(below: TreeEntry): void {
    const [directory, name] = splitPath(below.path);
    const node = addChild(this.#directory(directory, below), name, "other", -1);
    node.cut = true;
    if (below.type !== "file") {
      this.#push(node, withoutOverlayXattrs(below));
      return;
    }
    const copyUp = { below, names: [] };
    this.#copyUps.set(below.path, copyUp);
    this.#nameCopy(copyUp, below.path);
  }

  #nameCopy(copyUp: CopyUp, path: ByteString): void {
    copyUp.names.push(path);
    this.#copiedNames.set(path, copyUp);
  }

  /** Takes a node out of the tree; what the disk below has there stays hidden. */
  #drop(node: MergeNode, path: ByteString): void {
    this.#lastDirectory = undefined;
    for (const child of node.children?.values() ?? []) {
      if (child.kind !== "gone" && this.#copiedNames.size > 0) this.#drop(child, joinPath(path, child.name));
    }
    const copyUp = this.#copiedNames.get(path);
    if (copyUp) {
      copyUp.names.splice(copyUp.names.indexOf(path), 1);
      this.#copiedNames.delete(path);
    } else this.#target.remove(path);
    node.kind = "gone";
    node.children = undefined;
    node.entry = undefined;
    node.target = undefined;
    node.cut = true;
  }

  #whiteOut(path: ByteString): void {
    if (path === "") return;
    const [directory, name] = splitPath(path);
    const found = this.#find(directory);
    if (!found) return;
    const node = found.node && childOf(found.node, name);
    const target = joinPath(found.path, name);
    if (node) {
      node.cut = true;
      if (node.kind === "gone") node.layer = this.#layer;
      else this.#dropOlder(node, target);
    } else if (found.shows && this.#lower?.lookup(target)) {
      const parent = this.#directory(found.path, undefined);
      addChild(parent, name, "gone", this.#layer).cut = true;
    }
  }

  #makeOpaque(directory: ByteString): void {
    const found = this.#find(directory);
    if (!found) return;
    const node = found.node ?? this.#directory(found.path, undefined);
    node.cut = true;
    this.#dropOlderChildren(node, found.path);
  }

  /** Drops what layers below this one put there; what this layer put there stays, whatever the order in its tar. */
  #dropOlder(node: MergeNode, path: ByteString): void {
    if (node.kind === "directory") {
      this.#dropOlderChildren(node, path);
      if (node.layer === this.#layer || node.children!.size > 0) return;
    }
    if (node.layer !== this.#layer) this.#drop(node, path);
  }

  #dropOlderChildren(directory: MergeNode, path: ByteString): void {
    for (const child of [...directory.children!.values()]) {
      child.cut = true;
      if (child.kind !== "gone") this.#dropOlder(child, joinPath(path, child.name));
      if (child.kind === "gone") directory.children!.delete(child.name);
    }
  }

  /** The directory at `path`, made with its parents when only the disk below has it or nobody does. */
  #directory(path: ByteString, child: TreeEntry | undefined): MergeNode {
    if (path === "") return this.#root;
    if (this.#lastDirectory?.path === path) return this.#lastDirectory.node;
    const found = this.#find(path, child?.mtime ?? { sec: 0, nsec: 0 });
    const node = found!.node!;
    this.#lastDirectory = { path, node, isMoved: found!.path !== path };
    return node;
  }

  /**
   * Where `path`, a directory, really is: symlinks on the way are followed inside of the tree. With `make`, missing
   * directories are created: with the metadata of the disk below where it has them, else root's with mode 0755.
   */
  #find(path: ByteString, make?: TreeEntry["mtime"]): FoundDirectory | undefined {
    let rest = path === "" ? [] : (path.split("/") as ByteString[]);
    let at: FoundDirectory = { node: this.#root, path: "" as ByteString, shows: this.#shows(this.#root) };
    for (let links = 0; rest.length > 0; ) {
      const [name, ...after] = rest as [ByteString, ...ByteString[]];
      rest = after;
      if (name === ".." || name === "." || name === "") {
        if (name === "..") at = this.#find(splitPath(at.path)[0], make)!;
        continue;
      }
      const node = at.node && childOf(at.node, name);
      const here = joinPath(at.path, name);
      const below = node || !at.shows ? undefined : this.#lower?.lookup(here);
      const target = node ? node.target : below?.linkTarget;
      if (target !== undefined) {
        if (++links > maxLinks) throw this.#notADirectory(path);
        if (target.startsWith("/")) at = { node: this.#root, path: "" as ByteString, shows: this.#shows(this.#root) };
        rest = [...(target.split("/") as ByteString[]), ...rest];
        continue;
      }
      const kind = node ? node.kind : (below?.type ?? "gone");
      if (kind === "directory") {
        const shown = node ? at.shows && !node.cut && this.#lowerHasDirectory(here) : true;
        at = { node: node ?? (make && this.#makeDirectory(at.node!, name, below)), path: here, shows: shown };
      } else if (kind === "gone") {
        if (!make) return undefined;
        const made = this.#makeDirectory(at.node!, name, undefined, here, make);
        at = { node: made, path: here, shows: false };
      } else if (make) throw this.#notADirectory(path);
      else return undefined;
    }
    return at;
  }

  #makeDirectory(
    parent: MergeNode,
    name: ByteString,
    below: TreeEntry | undefined,
    path: ByteString = below!.path,
    mtime?: TreeEntry["mtime"],
  ): MergeNode {
    const node = childOf(parent, name) ?? addChild(parent, name, "directory", this.#layer);
    const passing = this.#passing;
    this.#push(
      node,
      below
        ? withoutOverlayXattrs(below)
        : { path, type: "directory", mode: 0o755, uid: 0, gid: 0, size: 0, mtime: mtime ?? { sec: 0, nsec: 0 } },
    );
    this.#passing = passing;
    // Not this layer's own, so a whiteout in this layer may take it away again.
    if (below) node.layer = -1;
    return node;
  }

  /** What is at `path`, in the tree or in the disk below; symlinks are followed on the way but not at the end. */
  #locate(path: ByteString): Located | undefined {
    const [directory, name] = splitPath(path);
    const found = this.#find(directory);
    if (!found) return undefined;
    const real = joinPath(found.path, name);
    const node = found.node && childOf(found.node, name);
    if (node) return node.kind === "gone" ? undefined : { path: real, kind: node.kind, below: undefined };
    const below = found.shows ? this.#lower?.lookup(real) : undefined;
    return below && { path: real, kind: below.type === "directory" ? "directory" : "other", below };
  }

  #shows(node: MergeNode): boolean {
    return this.#lower !== undefined && !node.cut;
  }

  #lowerHasDirectory(path: ByteString): boolean {
    return this.#lower?.lookup(path)?.type === "directory";
  }

  #notADirectory(path: ByteString): AegisError {
    return new AegisError("LAYER_CORRUPT", `the layer puts files into ${shown(path)}, which is not a directory`, {
      hint: "the image was not built correctly; build it again or pull it anew",
    });
  }

  /** `directory` is also in the disk below and shows it. */
  #leaveMarks(directory: MergeNode, lower: LowerTree): void {
    for (const child of directory.children!.values()) {
      if (child.kind !== "gone" && child.kind !== "directory") continue;
      const path = pathOf(child);
      const below = lower.lookup(path);
      if (!below) continue;
      if (child.kind === "gone") this.#target.entry(whiteoutDevice(path));
      else if (below.type === "directory" && child.cut) this.#target.entry(opaque(child.entry!));
      else if (below.type === "directory") this.#leaveMarks(child, lower);
    }
  }
}

interface LastDirectory {
  readonly path: ByteString;
  readonly node: MergeNode;
  /** It was reached through symlinks: its real path is another one. */
  readonly isMoved: boolean;
}

interface FoundDirectory {
  /** Undefined when only the disk below has it. */
  readonly node: MergeNode | undefined;
  readonly path: ByteString;
  /** The disk below has a directory here too, and it shows through. */
  readonly shows: boolean;
}

interface CopyUp {
  readonly below: TreeEntry;
  /** Paths of the file in the tree; the first gets the content. */
  readonly names: ByteString[];
}

interface Located {
  readonly path: ByteString;
  readonly kind: MergeNode["kind"];
  readonly below: TreeEntry | undefined;
}

const shown = (path: ByteString): string => JSON.stringify(`/${decodeText(path)}`);

function opaque(entry: TreeEntry): TreeEntry {
  return { ...entry, xattrs: new Map([...(entry.xattrs ?? []), [opaqueXattr, Buffer.from("y")]]) };
}

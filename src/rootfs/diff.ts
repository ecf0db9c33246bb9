/**
 * What an overlay's upper directory changes, as the entries of an OCI layer. The same function serves every executor: equal
 * content gives equal entries in equal order. OCI image spec, layer.md "Change Types".
 */
import { createHash } from "node:crypto";
import { opaqueMarkerOf, whiteoutOf } from "../oci/whiteouts.js";
import { type ByteString, decodeText } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { TreeEntry, TreeSink } from "../support/tree.js";
import { joinPath } from "../support/tree-paths.js";

import { isOpaque, isWhiteout, withoutOverlayXattrs } from "./overlay-marks.js";
import type { TreeView, ViewNode } from "./view.js";

export interface DiffOptions {
  /** Paths that the executor put there itself (mount points); they are left out, as is the time they gave their parents. */
  readonly skip?: ReadonlySet<ByteString> | undefined;
}

export type Change =
  /** `node` is as the upper directory has it, without the overlay's own attributes. */
  | { readonly kind: "add" | "modify"; readonly path: ByteString; readonly node: ViewNode }
  | { readonly kind: "remove"; readonly path: ByteString }
  /** The directory's old content is gone; follows the directory's own change. */
  | { readonly kind: "empty"; readonly path: ByteString };

/**
 * Pushes the layer that turns `lower` into the overlay of `upper` over it. Later names of one file are hard links; sockets
 * are left out; a directory that differs in nothing comes along only as the parent of something that does.
 * @param upper the raw upper directory: whiteout devices and overlay attributes included
 * @throws AegisError UPPER_UNSUPPORTED when the overlay was mounted with redirect_dir or metacopy
 */
export async function diffUpper(
  upper: TreeView,
  lower: TreeView,
  sink: TreeSink,
  options: DiffOptions = {},
): Promise<void> {
  const linked = new Map<string, ByteString>();
  for await (const change of changesOf(upper, lower, options)) {
    if (change.kind === "remove") sink.entry(marker(whiteoutOf(change.path)));
    else if (change.kind === "empty") sink.entry(marker(opaqueMarkerOf(change.path)));
    else await pushNode(change.path, change.node);
    await sink.drain();
  }

  async function pushNode(path: ByteString, { entry, identity, links }: ViewNode): Promise<void> {
    const first = linked.get(identity);
    if (first !== undefined) {
      sink.entry({ ...entry, type: "hardlink", size: 0, linkTarget: first, xattrs: undefined });
      return;
    }
    if (links > 1 && entry.type !== "directory") linked.set(identity, path);
    sink.entry(entry);
    if (entry.type === "file" && entry.size > 0) await upper.copyContent(path, sink);
  }
}

/** The changes themselves, parents first, names in byte order. The root directory's own attributes are no change. */
export async function* changesOf(upper: TreeView, lower: TreeView, options: DiffOptions = {}): AsyncGenerator<Change> {
  const skip = options.skip ?? new Set();

  /** `below` is the directory that shows through at `path`, if any. */
  async function* within(path: ByteString, below: ViewNode | undefined): AsyncGenerator<Change> {
    for (const name of await upper.list(path)) {
      const at = joinPath(path, name);
      const raw = await upper.lookup(at);
      if (!raw) continue;
      refuseUnsupported(raw.entry);
      const old = below && (await lower.lookup(at));
      if (isWhiteout(raw.entry)) {
        if (old && !skip.has(at)) yield { kind: "remove", path: at };
        continue;
      }
      const mountPoint = skip.has(at) && (raw.entry.type !== "directory" || (await upper.list(at)).length === 0);
      if (!mountPoint) yield* node(at, raw, old);
    }
  }

  async function* node(path: ByteString, raw: ViewNode, old: ViewNode | undefined): AsyncGenerator<Change> {
    const entry = withoutOverlayXattrs(raw.entry);
    const change: Change = { kind: old ? "modify" : "add", path, node: { ...raw, entry } };
    if (entry.type !== "directory") {
      if (!old || !(await sameFile(path, change.node, old))) yield change;
      return;
    }
    const oldDirectory = old?.entry.type === "directory" ? old : undefined;
    const emptied = oldDirectory !== undefined && isOpaque(raw.entry);
    let told = !oldDirectory || emptied;
    if (told) yield change;
    if (emptied) yield { kind: "empty", path };
    for await (const inner of within(path, emptied ? undefined : oldDirectory)) {
      // An unchanged directory is told of only when something in it is.
      if (!told) yield change;
      told = true;
      yield inner;
    }
    // A new time alone is no change, as in the reference: it comes from what was made and removed again, mount points too.
    const differs = oldDirectory && !sameEntry({ ...entry, mtime: oldDirectory.entry.mtime }, oldDirectory.entry);
    if (!told && differs) yield change;
  }

  /** One more name alone doesn't change a file; the new name is a file of its own then, as in the reference's layers. */
  async function sameFile(path: ByteString, { entry }: ViewNode, old: ViewNode): Promise<boolean> {
    if (!sameEntry(entry, old.entry)) return false;
    // Whoever keeps nanoseconds would have changed them with the content.
    if (entry.type !== "file" || entry.size === 0 || entry.mtime.nsec !== 0) return true;
    return (await contentHash(upper, path)) === (await contentHash(lower, path));
  }

  const root = "" as ByteString;
  yield* within(root, await lower.lookup(root));
}

function refuseUnsupported(entry: TreeEntry): void {
  for (const name of ["trusted.overlay.redirect", "trusted.overlay.metacopy"]) {
    if (!entry.xattrs?.has(name)) continue;
    throw new AegisError(
      "UPPER_UNSUPPORTED",
      `"/${decodeText(entry.path)}" carries ${name}, which no layer can express`,
      {
        hint: "mount the overlay with redirect_dir=off,metacopy=off",
      },
    );
  }
}

function sameEntry(a: TreeEntry, b: TreeEntry): boolean {
  return (
    a.type === b.type &&
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.size === b.size &&
    a.mtime.sec === b.mtime.sec &&
    a.mtime.nsec === b.mtime.nsec &&
    a.linkTarget === b.linkTarget &&
    a.devMajor === b.devMajor &&
    a.devMinor === b.devMinor &&
    sameXattrs(a.xattrs, b.xattrs)
  );
}

function sameXattrs(a: TreeEntry["xattrs"], b: TreeEntry["xattrs"]): boolean {
  if ((a?.size ?? 0) !== (b?.size ?? 0)) return false;
  for (const [name, value] of a ?? []) {
    const other = b?.get(name);
    if (!other || Buffer.compare(value, other) !== 0) return false;
  }
  return true;
}

const zeros = Buffer.alloc(1 << 16);

async function contentHash(view: TreeView, path: ByteString): Promise<string> {
  const hash = createHash("sha256");
  await view.copyContent(path, {
    entry: () => undefined,
    data: (chunk) => hash.update(chunk),
    hole(length) {
      for (let left = length; left > 0; left -= zeros.length)
        hash.update(zeros.subarray(0, Math.min(left, zeros.length)));
    },
    drain: () => undefined,
  });
  return hash.digest("hex");
}

/** A whiteout is an empty file; nothing about it but its name counts, so it is the same every time. */
function marker(path: ByteString): TreeEntry {
  return { path, type: "file", mode: 0, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 }, size: 0 };
}

/** Random stacks of layers, and the simplest model of what they mean together. */
import fc from "fast-check";
import { opaqueMarkerOf, parseWhiteout, type Whiteout, whiteoutOf } from "../../src/oci/whiteouts.js";
import type { ByteString } from "../../src/support/brands.js";
import type { TreeEntry, TreeSink } from "../../src/support/tree.js";
import { bytePath, MemoryTree } from "./memory-tree.js";

export interface LayerEntry {
  readonly entry: TreeEntry;
  readonly content: string;
}
export type Layer = readonly LayerEntry[];

const names = ["a", "b", "c", "d é"];
const paths = fc
  .array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 })
  .map((parts) => bytePath(parts.join("/")));

type Step =
  | {
      readonly do: "put";
      readonly path: ByteString;
      readonly type: "file" | "directory" | "symlink" | "fifo";
      readonly salt: number;
    }
  | { readonly do: "link"; readonly path: ByteString; readonly choice: number }
  | { readonly do: "remove"; readonly path: ByteString }
  | { readonly do: "opaque"; readonly path: ByteString };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("put" as const),
      path: paths,
      type: fc.constantFrom(
        "file" as const,
        "file" as const,
        "directory" as const,
        "symlink" as const,
        "fifo" as const,
      ),
      salt: fc.nat(1000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("link" as const), path: paths, choice: fc.nat(1000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("remove" as const), path: paths }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("opaque" as const), path: paths }) },
);

/** Layers whose every entry makes sense on what is below: parents are directories, links have targets. */
export const layerStacks = fc.array(fc.array(step, { maxLength: 10 }), { minLength: 1, maxLength: 5 }).map((stack) => {
  const state = new MemoryTree();
  return stack.map((steps) => {
    const layer: LayerEntry[] = [];
    for (const wanted of steps) {
      const made = entryFor(wanted, state);
      if (!made) continue;
      const whiteout = parseWhiteout(made.entry.path);
      // What a layer removes is below it, so it never removes what it put itself.
      if (layer.some((other) => isAbout(other, made, whiteout))) continue;
      if (whiteout) hide(whiteout, state);
      else place(made, state);
      layer.push(made);
    }
    return layer as Layer;
  });
});

function isAbout({ entry }: LayerEntry, made: LayerEntry, whiteout: Whiteout | undefined): boolean {
  if (!whiteout) return entry.path === made.entry.path;
  const within = (path: string) => path === whiteout.path || path.startsWith(`${whiteout.path}/`);
  if (whiteout.kind === "opaque" && entry.path === whiteout.path) return false;
  return within(parseWhiteout(entry.path)?.path ?? entry.path) || within(entry.linkTarget ?? "");
}

function entryFor(wanted: Step, state: MemoryTree): LayerEntry | undefined {
  const { path } = wanted;
  if (wanted.do === "remove") return state.lookup(path) && { entry: marker(whiteoutOf(path)), content: "" };
  if (wanted.do === "opaque") {
    return state.lookup(path)?.type === "directory" ? { entry: marker(opaqueMarkerOf(path)), content: "" } : undefined;
  }
  for (let slash = path.indexOf("/"); slash > 0; slash = path.indexOf("/", slash + 1)) {
    const parent = state.lookup(path.slice(0, slash) as ByteString);
    if (parent && parent.type !== "directory") return undefined;
  }
  const base = { path, mode: 0o644, uid: 7, gid: 8, mtime: { sec: 1, nsec: 5 }, size: 0 };
  if (wanted.do === "link") {
    const targets = state
      .paths()
      .filter((it) => state.lookup(it)!.type !== "directory" && !it.startsWith(`${path}/`) && it !== path);
    const linkTarget = targets[wanted.choice % Math.max(targets.length, 1)];
    return linkTarget === undefined ? undefined : { entry: { ...base, type: "hardlink", linkTarget }, content: "" };
  }
  const { salt, type } = wanted;
  const common = { ...base, mode: 0o600 + (salt % 64), uid: salt, mtime: { sec: salt, nsec: salt } };
  if (type === "directory")
    return { entry: { ...common, type, xattrs: new Map([["user.salt", Buffer.from(`${salt}`)]]) }, content: "" };
  if (type === "symlink")
    return { entry: { ...common, type, mode: 0o777, linkTarget: bytePath(`gone-${salt}`) }, content: "" };
  if (type === "fifo") return { entry: { ...common, type }, content: "" };
  const content = `${salt},`.repeat(salt % 20);
  return { entry: { ...common, type, size: content.length }, content };
}

const marker = (path: ByteString): TreeEntry => ({
  path,
  type: "file",
  mode: 0,
  uid: 0,
  gid: 0,
  mtime: { sec: 0, nsec: 0 },
  size: 0,
});

/** Puts one entry into the model; missing parents are as they were before, or new. */
function place({ entry, content }: LayerEntry, state: MemoryTree): void {
  const { path } = entry;
  for (let slash = path.indexOf("/"); slash > 0; slash = path.indexOf("/", slash + 1)) {
    const parent = path.slice(0, slash) as ByteString;
    if (!state.lookup(parent)) {
      state.entry({ ...marker(parent), type: "directory", mode: 0o755, mtime: entry.mtime });
    }
  }
  const before = state.lookup(path);
  if (before && !(before.type === "directory" && entry.type === "directory")) state.remove(path);
  state.entry(entry);
  if (content !== "") state.data(Buffer.from(content, "latin1"));
}

function hide(whiteout: Whiteout, state: MemoryTree): void {
  if (!state.lookup(whiteout.path)) return;
  if (whiteout.kind === "whiteout") state.remove(whiteout.path);
  else for (const name of state.children(whiteout.path)) state.remove(`${whiteout.path}/${name}` as ByteString);
}

/** What the stack means. */
export function modelOf(stack: readonly Layer[]): MemoryTree {
  const state = new MemoryTree();
  for (const layer of stack) {
    for (const { entry } of layer) {
      const whiteout = parseWhiteout(entry.path);
      if (whiteout) hide(whiteout, state);
    }
    for (const made of layer) if (!parseWhiteout(made.entry.path)) place(made, state);
  }
  return state;
}

export function pushLayer(layer: Layer, sink: TreeSink): void {
  for (const { entry, content } of layer) {
    sink.entry(entry);
    if (content !== "") sink.data(Buffer.from(content, "latin1"));
  }
}

/** Random stacks of layers for property tests. */
import fc from "fast-check";
import type { Ext4Writer } from "../../src/ext4/index.js";
import type { ByteString } from "../../src/support/brands.js";
import type { TreeEntry } from "../../src/support/tree.js";
import { treeEntry } from "./tree-lines.js";
import { type Piece, pushPieces, sizeOf, type TreeModel } from "./tree-model.js";

export type Step =
  | { readonly do: "put"; readonly entry: TreeEntry; readonly pieces: readonly Piece[] }
  | { readonly do: "link"; readonly path: ByteString; readonly target: number }
  | { readonly do: "layer" }
  | { readonly do: "remove" | "whiteout" | "opaque"; readonly path: ByteString };

/** Few names, so that steps meet; some of them awkward: bytes that are no UTF-8, the longest, case, dots. */
const name = fc.constantFrom("a", "b", "A", "c d", "\xff\xfe", "...", "n".repeat(255), "\xc3\xa4", "-x", "\n", "lib");
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/") as ByteString);

const id = fc.oneof(fc.constantFrom(0, 1000, 65535, 65536, 4294967294), fc.nat(100_000));
const mtime = fc.record({
  sec: fc.oneof(
    fc.constantFrom(0, -1, 2 ** 31, 2 ** 32, -(2 ** 31), 2 ** 34 - 2 ** 31 - 1),
    fc.integer({ min: -(2 ** 31), max: 2 ** 33 }),
  ),
  nsec: fc.nat(999_999_999),
});

const value = fc.uint8Array({ maxLength: 120 });
const acl = Buffer.from(
  "0200000001000600ffffffff02000700e803000004000400ffffffff10000700ffffffff20000400ffffffff",
  "hex",
);
/** cap_net_bind_service as linux/capability.h lays it out: for everybody (revision 2), for a namespace's root (3). */
const capabilities = ["0100000200040000000000000000000000000000", "010000030004000000000000000000000000000040e20100"];
/** The kernel shows user attributes and ACLs of files and directories only. */
const specialXattrs = fc.dictionary(fc.constantFrom("trusted.overlay.opaque", "security.example"), value, {
  maxKeys: 2,
});
const fileXattrs = fc
  .record({
    named: fc.dictionary(
      fc.constantFrom(
        "user.a",
        "user.b.c",
        "user.\xff\xfe",
        "trusted.x",
        "security.example",
        `user.${"l".repeat(250)}`,
      ),
      value,
      { maxKeys: 5 },
    ),
    long: fc.option(fc.uint8Array({ minLength: 500, maxLength: 2500 }), { nil: undefined, freq: 4 }),
    capability: fc.option(fc.constantFrom(...capabilities), { nil: undefined, freq: 3 }),
    acl: fc.boolean(),
  })
  .map(({ named, long, capability, acl: withAcl }) => ({
    ...named,
    ...(long ? { "user.long": long } : {}),
    ...(capability ? { "security.capability": Uint8Array.from(Buffer.from(capability, "hex")) } : {}),
    ...(withAcl ? { "system.posix_acl_access": Uint8Array.from(acl) } : {}),
  }));
const directoryXattrs = fc.tuple(fileXattrs, fc.boolean()).map(([values, inherited]) => ({
  ...values,
  ...(inherited ? { "system.posix_acl_default": Uint8Array.from(acl) } : {}),
}));
const toMap = (values: Record<string, Uint8Array>) =>
  Object.keys(values).length > 0 ? new Map(Object.entries(values)) : undefined;

const pieceSize = fc.oneof(fc.integer({ min: 1, max: 6000 }), fc.constantFrom(4096, 8192, 12288, 1, 4095, 70_000));
const piece: fc.Arbitrary<Piece> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(pieceSize, fc.nat(255))
      .map(([size, seed]) => ({ data: Uint8Array.from({ length: size }, (_, i) => (i * 31 + seed) & 0xff) })),
  },
  { weight: 1, arbitrary: pieceSize.map((hole) => ({ hole })) },
);

const attributes = fc.record({ mode: fc.nat(0o7777), uid: id, gid: id, mtime });

const put = fc
  .oneof(
    fc.record({ type: fc.constant("directory" as const), xattrs: directoryXattrs.map(toMap) }),
    fc.record({
      type: fc.constant("file" as const),
      xattrs: fileXattrs.map(toMap),
      pieces: fc.array(piece, { maxLength: 8 }),
    }),
    fc.record({
      type: fc.constant("symlink" as const),
      xattrs: specialXattrs.map(toMap),
      linkTarget: fc.oneof(
        path,
        fc.integer({ min: 1, max: 4095 }).map((n) => "t".repeat(n) as ByteString),
      ),
    }),
    fc.record({
      type: fc.constantFrom("char" as const, "block" as const),
      xattrs: specialXattrs.map(toMap),
      devMajor: fc.nat(4095),
      devMinor: fc.nat(2 ** 20 - 1),
    }),
    fc.record({ type: fc.constant("fifo" as const), xattrs: specialXattrs.map(toMap) }),
  )
  .chain((kind) =>
    fc.tuple(path, attributes).map(([at, common]): Step => {
      const { pieces = [], ...facts } = { pieces: undefined, ...kind } as { pieces?: Piece[] } & Partial<TreeEntry> & {
          type: TreeEntry["type"];
        };
      const mode = facts.type === "symlink" ? 0o777 : common.mode;
      return {
        do: "put",
        entry: treeEntry(at, facts.type, { ...common, ...facts, mode, size: sizeOf(pieces) }),
        pieces,
      };
    }),
  );

/** Steps that build a tree in layers. A symlink is never a parent within its layer: see `applySteps`. */
export const layerSteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: put },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("link" as const), path, target: fc.nat() }) },
    { weight: 1, arbitrary: fc.constant({ do: "layer" } as const) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constantFrom("remove" as const, "whiteout" as const, "opaque" as const), path }),
    },
  ),
  { minLength: 1, maxLength: 60 },
);

/** Carries the steps out on both; links get a target that exists, and steps below a symlink of the same layer are left out. */
export function applySteps(steps: readonly Step[], writer: Ext4Writer, model: TreeModel): void {
  let symlinks: string[] = [];
  const files: ByteString[] = [];
  for (const step of steps) {
    if (step.do === "layer") {
      writer.beginLayer();
      model.beginLayer();
      symlinks = [];
      continue;
    }
    const at = step.do === "put" ? step.entry.path : step.path;
    if (symlinks.some((link) => at.startsWith(`${link}/`))) continue;
    if (step.do === "put") {
      writer.entry(step.entry);
      pushPieces(writer, step.pieces);
      model.put(step.entry, step.pieces);
      if (step.entry.type === "symlink") symlinks.push(at);
      if (step.entry.type !== "directory") files.push(at);
    } else if (step.do === "link") {
      const targets = files.filter(
        (file) => model.find(file) && !model.find(file)!.children && !file.startsWith(`${at}/`),
      );
      const target = targets[step.target % targets.length];
      if (target === undefined || target === at) continue;
      const entry = treeEntry(at, "hardlink", { linkTarget: target });
      writer.entry(entry);
      model.put(entry, []);
      files.push(at);
      if (model.find(at)!.body.entry.type === "symlink") symlinks.push(at);
    } else if (step.do === "remove") {
      writer.remove(at);
      model.remove(at);
    } else if (step.do === "whiteout") {
      writer.removeLower(at);
      model.removeLower(at, false);
    } else {
      writer.removeLowerChildren(at);
      model.removeLower(at, true);
    }
  }
}

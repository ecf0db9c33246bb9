/** COPY: files of the context, of another stage or of an image, and heredocs, into the tree. */
import type { Heredoc } from "../../dockerfile/types.js";
import { type ByteString, encodeText } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { TreeSink } from "../../support/tree.js";
import { cleanPath, joinPath, pathBelow } from "../../support/tree-paths.js";
import type { Download } from "../context/download.js";
import type { GitAddress } from "../context/git-address.js";
import type { GitTree } from "../context/trees.js";
import type { RootStack } from "../roots.js";
import { Changes } from "../tree/changes.js";
import { type ModeChange, parseMode } from "../tree/chmod.js";
import {
  type CopyOptions,
  copyInto,
  copyWithParents,
  ensureDestination,
  missingSource,
  putFile,
  splitPivot,
} from "../tree/copy.js";
import { filteredView, patternFilter, type TreeFilter } from "../tree/filter.js";
import { digestSource, matchSources, type SourceView } from "../tree/sources.js";
import { Spool } from "../tree/spool.js";
import { resolveOwner } from "../tree/users.js";
import { emptyView, resolvePath, type TreeView } from "../tree/view.js";
import { keyOf, type LayerStep } from "./step.js";

export interface CopySource {
  open(): Promise<SourceView>;
  /** For trees that never change: what is known of them from earlier builds, so that they need not be opened. */
  readonly memory?: {
    recall(question: string): Promise<string | undefined>;
    remember(question: string, answer: string): Promise<void>;
  };
  /**
   * For the build context, of which the reference's builder sees only what some step takes: whether that is anything in this
   * directory, or all of it.
   */
  covers?(view: SourceView, directory: ByteString): Promise<boolean>;
}

export type CopyItem =
  /** What a word means in the tree that `source` opens. */
  | { readonly type: "path"; readonly word: string }
  /** A remote file, fetched when the key is asked for. */
  | { readonly type: "download"; readonly start: () => Promise<Download> }
  | { readonly type: "git"; readonly address: GitAddress; readonly open: () => Promise<GitTree> };

export interface CopyInput {
  readonly createdBy: string;
  readonly items: readonly CopyItem[];
  readonly heredocs: readonly Heredoc[];
  /** As written, made absolute; a trailing slash counts. */
  readonly destination: string;
  readonly chown: string | undefined;
  readonly chmod: string | undefined;
  readonly link: boolean;
  /** `--parents` */
  readonly parents: boolean;
  readonly exclude: readonly string[];
  /** Opens the tree that words of `items` are of. */
  source(): Promise<CopySource>;
  /** Set for ADD: which archives are unpacked, and a file for what they hold meanwhile. */
  readonly add: false | { readonly unpack: Unpacked; readonly spool: () => Promise<string> };
  readonly now: number;
  readonly epoch: number | undefined;
}

interface Unpacked {
  readonly local: boolean;
  readonly remote: boolean;
}

export function copyStep(input: CopyInput, roots: RootStack): LayerStep {
  const chmod = input.chmod === undefined ? undefined : parseMode(input.chmod);
  // As in the reference, --chmod makes it a COPY like any other.
  const apart = input.link && chmod === undefined;
  const ready: ReadyCopy = { ...input, chmod, filter: patternFilter(input.exclude), apart };
  return {
    createdBy: input.createdBy,
    async key() {
      return keyOf([
        input.add ? ["add", input.add.unpack.local, input.add.unpack.remote] : "copy",
        apart ? "link" : roots.chainId,
        input.destination,
        [input.chown, input.chmod, input.parents, input.epoch ?? null],
        input.heredocs.map(({ name, content }) => [name, content]),
        await itemsKey(ready),
      ]);
    },
    produce: (sink) => produce(ready, roots, sink),
  };
}

/** A COPY with its flags understood. */
interface ReadyCopy extends Omit<CopyInput, "chmod"> {
  readonly chmod: ModeChange | undefined;
  readonly filter: TreeFilter | undefined;
  /** Made over nothing, so that what lies below never changes it (`--link`). */
  readonly apart: boolean;
}

interface Source {
  readonly path: ByteString;
  /** The tree it is in, less what `--exclude` leaves out. */
  readonly view: SourceView;
  /** With `--parents`: the directory from which on the way to it is kept. */
  readonly base?: ByteString;
}

/**
 * What a word means in the tree. `--exclude` counts below a directory that is named or matched, and a file that is named or
 * matched itself stays whatever it says; with `--parents` it counts below the pivot.
 */
async function sourcesOf(
  { parents, filter }: ReadyCopy,
  source: CopySource,
  view: SourceView,
  word: string,
): Promise<readonly Source[]> {
  if (parents) {
    const { base, kept } = splitPivot(word);
    const top = await resolvePath(view, encodeText(base));
    const filtered = filter ? filteredView(view, top, filter) : view;
    const found = await matchSources(viewBelow(filtered, top), kept, { anyDepth: true });
    return found.map((path) => ({ path: pathBelow(top, path), view: filtered, base: top }));
  }
  const onNothing = async (directory: ByteString) => {
    if ((await view.lstat(directory)) && (await source.covers?.(view, directory)) !== false) return;
    throw missingSource(directory);
  };
  const found: Source[] = [];
  for (const path of await matchSources(view, word, { onNothing })) {
    const followed = filter && (await resolvePath(view, path));
    const isDirectory = followed !== undefined && (await view.lstat(followed))?.type === "directory";
    found.push({ path, view: isDirectory ? filteredView(view, followed, filter!) : view });
  }
  return found;
}

const viewBelow = (view: SourceView, top: ByteString): SourceView => ({
  lstat: (path) => view.lstat(pathBelow(top, path)),
  readdir: (path) => view.readdir(pathBelow(top, path)),
  read: (path, sink) => view.read(pathBelow(top, path), sink),
});

async function itemsKey(input: ReadyCopy): Promise<readonly (readonly (string | number)[])[]> {
  const words = input.items.flatMap((item) => (item.type === "path" ? [item.word] : []));
  const paths = words.length === 0 ? "" : await sourcesKey(input, words);
  return await Promise.all(
    input.items.map(async (item) => {
      if (item.type === "path") return ["path", paths];
      if (item.type === "git") {
        const { directory = "", keepGitDir = false, submodules = true, remote } = item.address;
        const { commit } = await item.open();
        // A repository that stays says where it is from, and submodules may be named relative to it.
        return ["git", commit, directory, remote, `${keepGitDir} ${submodules}`, ...input.exclude];
      }
      const { name, digest, mtime } = await item.start();
      return ["download", name, digest, mtime];
    }),
  );
}

async function sourcesKey(input: ReadyCopy, words: readonly string[]): Promise<string> {
  const source = await input.source();
  const question = keyOf([words, input.exclude]);
  const known = await source.memory?.recall(question);
  if (known !== undefined) return known;
  const view = await source.open();
  const found: [string, string][] = [];
  for (const word of words) {
    for (const { path, view: within } of await sourcesOf(input, source, view, word)) {
      const digest = await digestSource(within, path);
      if (digest === undefined) throw missingSource(path);
      found.push([input.parents ? path : path.slice(path.lastIndexOf("/") + 1), digest]);
    }
  }
  const answer = keyOf(found);
  await source.memory?.remember(question, answer);
  return answer;
}

async function produce(input: ReadyCopy, roots: RootStack, sink: TreeSink): Promise<void> {
  const { chmod, chown, apart } = input;
  const view = apart || roots.layers.length === 0 ? undefined : await roots.lookups();
  const owner = chown === undefined ? undefined : await resolveOwner(view, chown);
  const changes = new Changes(view ?? emptyView, { sec: input.now, nsec: 0 });
  const options: CopyOptions = { owner, chmod };
  const destination = encodeText(input.destination);
  const at: Placing = { input, changes, destination, options };
  try {
    for (const item of input.items) await place(at, item);
    for (const heredoc of input.heredocs) await putHeredoc(changes, heredoc, destination, options);
    await changes.emit(sink);
  } finally {
    at.spool?.[Symbol.dispose]();
  }
}

interface Placing {
  readonly input: ReadyCopy;
  readonly changes: Changes;
  readonly destination: string;
  readonly options: CopyOptions;
  /** Made when the first archive is unpacked. */
  spool?: Spool;
}

async function place(at: Placing, item: CopyItem): Promise<void> {
  const { input, changes, destination, options } = at;
  if (item.type === "git") {
    const { view } = await item.open();
    const top = encodeText("");
    const kept = input.filter ? filteredView(view, top, input.filter) : view;
    await copyInto(changes, kept, top, destination, options);
    return;
  }
  if (item.type === "download") {
    const found = await item.start();
    if (input.add !== false && input.add.unpack.remote && (await unpack(at, { file: found.file }))) return;
    await putDownload(changes, found, destination, options);
    return;
  }
  const source = await input.source();
  const tree = await source.open();
  for (const { path, view: from, base } of await sourcesOf(input, source, tree, item.word)) {
    if (base !== undefined) {
      await copyWithParents(changes, from, base, path, destination, options);
      continue;
    }
    if (input.add !== false && input.add.unpack.local) {
      const followed = await resolvePath(from, path);
      const isFile = (await from.lstat(followed))?.type === "file";
      if (isFile && (await unpack(at, { view: from, path: followed }))) continue;
    }
    await copyInto(changes, from, path, destination, options);
  }
}

type Packed = { readonly file: string } | { readonly view: TreeView; readonly path: ByteString };

/** Unpacks what is an archive. */
async function unpack(at: Placing, packed: Packed): Promise<boolean> {
  const { input, changes, destination, options } = at;
  const archives = await import("../tree/archive.js");
  const bytes = "file" in packed ? archives.bytesOfFile(packed.file) : archives.bytesIn(packed.view, packed.path);
  if (!input.add || !(await archives.isArchive(bytes))) return false;
  at.spool ??= new Spool(await input.add.spool());
  const target = await resolvePath(changes, destination);
  await archives.unpackInto(changes, bytes, target, { owner: options.owner, spool: at.spool });
  return true;
}

async function putDownload(
  changes: Changes,
  { name, size, mtime, file }: Download,
  destination: string,
  options: CopyOptions,
): Promise<void> {
  const { pushHostFile } = await import("../context/download.js");
  const target = await ensureDestination(changes, destination, options);
  const inside = (await changes.lstat(target))?.type === "directory";
  await putFile(changes, inside ? joinPath(target, encodeText(name)) : target, {
    node: {
      type: "file",
      mode: options.chmod?.apply(0o600, false) ?? 0o600,
      uid: options.owner?.uid ?? 0,
      gid: options.owner?.gid ?? 0,
      mtime: { sec: mtime, nsec: 0 },
      size,
    },
    content: { kind: "spool", read: (sink) => pushHostFile(file, sink) },
  });
}

async function putHeredoc(
  changes: Changes,
  heredoc: Heredoc,
  destination: string,
  options: CopyOptions,
): Promise<void> {
  const name = fileName(heredoc);
  const target = await ensureDestination(changes, destination, options);
  const present = await changes.lstat(target);
  const path = present?.type === "directory" ? joinPath(target, name) : target;
  const bytes = Buffer.from(heredoc.content);
  await putFile(changes, path, {
    node: {
      type: "file",
      mode: options.chmod?.apply(0o644, false) ?? 0o644,
      uid: options.owner?.uid ?? 0,
      gid: options.owner?.gid ?? 0,
      mtime: changes.now,
      size: bytes.length,
    },
    content: { kind: "bytes", bytes },
  });
}

/** The reference makes the file in an empty tree and copies it from there: `../x` is `x`, and there are no directories. */
function fileName({ name }: Heredoc): ByteString {
  const path = cleanPath(encodeText(name));
  if (path !== "" && !path.includes("/")) return path;
  throw new AegisError("HEREDOC_NAME", `the here-document ${name} can not be a file of that name`, {
    hint: "say in the destination where the file belongs, and call the here-document as its file",
  });
}

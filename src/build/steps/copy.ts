/** COPY: files of the context, of another stage or of an image, and heredocs, into the tree. */
import type { Heredoc } from "../../dockerfile/types.js";
import { type ByteString, encodeText } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { TreeSink } from "../../support/tree.js";
import { joinPath } from "../../support/tree-paths.js";
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
  splitPivot,
} from "../tree/copy.js";
import { digestSource, matchSources, type SourceView } from "../tree/sources.js";
import { Spool } from "../tree/spool.js";
import { resolveOwner } from "../tree/users.js";
import { cleanPath, emptyView, resolvePath } from "../tree/view.js";
import { keyOf, type LayerStep } from "./step.js";

export interface CopySource {
  open(): Promise<SourceView>;
  /** For trees that never change: what is known of them from earlier builds, so that they need not be opened. */
  readonly memory?: {
    recall(question: string): Promise<string | undefined>;
    remember(question: string, answer: string): Promise<void>;
  };
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
  readonly exclude: ((path: string, directory: boolean) => boolean) | undefined;
  readonly excludePatterns: readonly string[];
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
  return {
    createdBy: input.createdBy,
    async key() {
      return keyOf([
        input.add ? ["add", input.add.unpack.local, input.add.unpack.remote] : "copy",
        input.link ? "link" : roots.chainId,
        input.destination,
        [input.chown, input.chmod, input.parents, input.epoch ?? null],
        input.heredocs.map(({ name, content }) => [name, content]),
        await itemsKey(input),
      ]);
    },
    produce: (sink) => produce(input, chmod, roots, sink),
  };
}

/** Paths in the tree that a word means. */
async function sourcesOf(view: SourceView, word: string, parents: boolean): Promise<readonly ByteString[]> {
  if (!parents) return await matchSources(view, word);
  const { base, kept } = splitPivot(word);
  const top = await resolvePath(view, encodeText(base));
  return (await matchSources(viewBelow(view, top), kept, { anyDepth: true })).map((path) =>
    top === "" ? path : joinPath(top, path),
  );
}

function viewBelow(view: SourceView, top: ByteString): SourceView {
  const at = (path: ByteString) => (top === "" ? path : path === "" ? top : joinPath(top, path));
  return {
    lstat: (path) => view.lstat(at(path)),
    readdir: (path) => view.readdir(at(path)),
    read: (path, sink) => view.read(at(path), sink),
  };
}

async function itemsKey(input: CopyInput): Promise<readonly (readonly (string | number)[])[]> {
  const words = input.items.flatMap((item) => (item.type === "path" ? [item.word] : []));
  const paths = words.length === 0 ? "" : await sourcesKey(input, words);
  const exclude = input.excludePatterns;
  return await Promise.all(
    input.items.map(async (item) => {
      if (item.type === "path") return ["path", paths];
      if (item.type === "git") {
        const { directory = "", keepGitDir = false, submodules = true, remote } = item.address;
        const { commit } = await item.open();
        // A repository that stays says where it is from, and submodules may be named relative to it.
        return ["git", commit, directory, remote, `${keepGitDir} ${submodules}`, ...exclude];
      }
      const { name, digest, mtime } = await item.start();
      return ["download", name ?? "", digest, mtime];
    }),
  );
}

async function sourcesKey(input: CopyInput, words: readonly string[]): Promise<string> {
  const source = await input.source();
  const question = keyOf([words, input.excludePatterns]);
  const known = await source.memory?.recall(question);
  if (known !== undefined) return known;
  const view = await source.open();
  const found: [string, string][] = [];
  for (const word of words) {
    for (const path of await sourcesOf(view, word, input.parents)) {
      const digest = await digestSource(view, path, { excluded: input.exclude });
      if (digest === undefined) throw missingSource(path);
      found.push([input.parents ? path : path.slice(path.lastIndexOf("/") + 1), digest]);
    }
  }
  const answer = keyOf(found);
  await source.memory?.remember(question, answer);
  return answer;
}

async function produce(
  input: CopyInput,
  chmod: ModeChange | undefined,
  roots: RootStack,
  sink: TreeSink,
): Promise<void> {
  // A linked layer stands on its own: it is made over nothing, and what lies below never changes it.
  const view = input.link ? emptyView : await roots.lookups();
  const ground = input.link || roots.layers.length === 0 ? undefined : view;
  const owner = input.chown === undefined ? undefined : await resolveOwner(ground, input.chown);
  const changes = new Changes(view, { sec: input.now, nsec: 0 });
  const options: CopyOptions = { owner, chmod, excluded: input.exclude };
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
  readonly input: CopyInput;
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
    await copyInto(changes, view, encodeText(""), destination, options);
    return;
  }
  if (item.type === "download") {
    const found = await item.start();
    if (input.add !== false && input.add.unpack.remote && (await unpack(at, { file: found.file }))) return;
    await putDownload(changes, found, destination, options);
    return;
  }
  const from = await (await input.source()).open();
  const base = input.parents ? await resolvePath(from, encodeText(splitPivot(item.word).base)) : undefined;
  for (const path of await sourcesOf(from, item.word, input.parents)) {
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

type Packed = { readonly file: string } | { readonly view: SourceView; readonly path: ByteString };

/** Unpacks what is an archive. */
async function unpack(at: Placing, packed: Packed): Promise<boolean> {
  const { input, changes, destination, options } = at;
  const { bytesIn, bytesOfFile, isArchive, unpackInto } = await import("../tree/archive.js");
  const bytes = "file" in packed ? bytesOfFile(packed.file) : bytesIn(packed.view, packed.path);
  if (!input.add || !(await isArchive(bytes))) return false;
  at.spool ??= new Spool(await input.add.spool());
  const target = await resolvePath(changes, destination);
  await unpackInto(changes, bytes, target, { owner: options.owner, spool: at.spool });
  return true;
}

async function putDownload(
  changes: Changes,
  { url, name, size, mtime, file }: Download,
  destination: string,
  options: CopyOptions,
): Promise<void> {
  const { pushHostFile } = await import("../context/download.js");
  const target = await ensureDestination(changes, destination, options);
  const inside = (await changes.lstat(target))?.type === "directory";
  if (inside && name === undefined) {
    throw new AegisError("DOWNLOAD_NAMELESS", `${url} says no file name`, {
      hint: "end the destination with the name that the file shall have",
    });
  }
  changes.put(inside ? joinPath(target, encodeText(name!)) : target, {
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
  changes.put(path, {
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

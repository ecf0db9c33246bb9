/** COPY: files of the context, of another stage or of an image, and heredocs, into the tree. */
import type { Heredoc } from "../../dockerfile/types.js";
import { type ByteString, encodeText } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { TreeSink } from "../../support/tree.js";
import { joinPath } from "../../support/tree-paths.js";
import { type Download, pushHostFile } from "../context/download.js";
import type { RootStack } from "../roots.js";
import { isArchive, unpackInto } from "../tree/archive.js";
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
import { emptyView, resolvePath } from "../tree/view.js";
import { keyOf, type LayerStep } from "./step.js";

export interface CopySource {
  open(): Promise<SourceView>;
  /** For trees that never change: what is known of them from earlier builds, so that they need not be opened. */
  readonly memory?: {
    recall(question: string): Promise<string | undefined>;
    remember(question: string, answer: string): Promise<void>;
  };
}

export interface CopyInput {
  readonly createdBy: string;
  readonly sources: readonly string[];
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
  /** Opens the tree that `sources` are in. */
  source(): Promise<CopySource>;
  /** ADD: archives among the sources are unpacked. Gives a file for what they hold meanwhile. */
  readonly unpack: (() => Promise<string>) | undefined;
  /** Remote files of ADD, fetched when the key is asked for. */
  readonly downloads: readonly (() => Promise<Download>)[];
  readonly now: number;
  readonly epoch: number | undefined;
}

export function copyStep(input: CopyInput, roots: RootStack): LayerStep {
  const chmod = input.chmod === undefined ? undefined : parseMode(input.chmod);
  return {
    createdBy: input.createdBy,
    async key() {
      return keyOf([
        input.unpack ? "add" : "copy",
        input.link ? "link" : roots.chainId,
        input.destination,
        [input.chown, input.chmod, input.parents, input.epoch ?? null],
        input.heredocs.map(({ name, content }) => [name, content]),
        input.sources.length === 0 ? [] : await sourcesKey(input),
        ...(await downloadsKey(input)),
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

async function downloadsKey({ downloads }: CopyInput): Promise<readonly (readonly string[])[]> {
  const fetched = await Promise.all(downloads.map((start) => start()));
  return fetched.map(({ name, digest }) => ["download", name ?? "", digest]);
}

async function sourcesKey(input: CopyInput): Promise<string> {
  const source = await input.source();
  const question = keyOf([input.sources, input.excludePatterns]);
  const known = await source.memory?.recall(question);
  if (known !== undefined) return known;
  const view = await source.open();
  const found: [string, string][] = [];
  for (const word of input.sources) {
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
  const owner = input.chown === undefined ? undefined : await resolveOwner(await roots.lookups(), input.chown);
  const changes = new Changes(view, { sec: input.now, nsec: 0 });
  const options: CopyOptions = { owner, chmod, excluded: input.exclude };
  const destination = encodeText(input.destination);
  let spool: Spool | undefined;
  if (input.sources.length > 0) {
    const from = await (await input.source()).open();
    for (const word of input.sources) {
      const base = input.parents ? await resolvePath(from, encodeText(splitPivot(word).base)) : undefined;
      for (const path of await sourcesOf(from, word, input.parents)) {
        if (base !== undefined) await copyWithParents(changes, from, base, path, destination, options);
        else if (await unpacks(input, from, path)) {
          spool ??= new Spool(await input.unpack!());
          const target = await resolvePath(changes, destination);
          await unpackInto(changes, from, await resolvePath(from, path), target, { owner, spool });
        } else await copyInto(changes, from, path, destination, options);
      }
    }
  }
  for (const start of input.downloads) await putDownload(changes, await start(), destination, options);
  for (const heredoc of input.heredocs) await putHeredoc(changes, heredoc, destination, options);
  try {
    await changes.emit(sink);
  } finally {
    spool?.[Symbol.dispose]();
  }
}

async function unpacks(input: CopyInput, view: SourceView, path: ByteString): Promise<boolean> {
  if (!input.unpack) return false;
  const followed = await resolvePath(view, path);
  return (await view.lstat(followed))?.type === "file" && (await isArchive(view, followed));
}

async function putDownload(
  changes: Changes,
  { url, name, size, mtime, file }: Download,
  destination: string,
  options: CopyOptions,
): Promise<void> {
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
  const target = await ensureDestination(changes, destination, options);
  const present = await changes.lstat(target);
  const path = present?.type === "directory" ? joinPath(target, encodeText(heredoc.name)) : target;
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

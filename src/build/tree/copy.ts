/**
 * Copies files between trees by the rules of COPY: where a source lands, what becomes of what is there, whose files they
 * are. Follows BuildKit's file operation, whose results the conformance tests record.
 */
import { type ByteString, decodeText } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import { baseName, cleanPath, joinPath, parentOf, pathBelow, pathFrom } from "../../support/tree-paths.js";
import { type Changes, type NewFile, notDirectory, type Owner } from "./changes.js";
import type { ModeChange } from "./chmod.js";
import { resolvePath, type TreeNode, type TreeView } from "./view.js";

export interface CopyOptions {
  /** `--chown`; undefined keeps the source's owner. */
  readonly owner?: Owner | undefined;
  readonly chmod?: ModeChange | undefined;
}

/** An octal `--chmod` holds for them too, but what makes them knows nine bits and has a umask. */
const newDirectoryMode = ({ chmod }: CopyOptions): number => (chmod?.octal ?? 0o777) & 0o755;

/** Makes the directory that a destination names: all of it when it ends in a slash, else what is above its last name. */
export async function ensureDestination(
  changes: Changes,
  destination: string,
  options: CopyOptions,
): Promise<ByteString> {
  const directory = destination.endsWith("/") ? destination : destination.slice(0, destination.lastIndexOf("/") + 1);
  const resolved = await resolvePath(changes, directory);
  const made = await changes.mkdirAll(resolved, newDirectoryMode(options), options.owner ?? { uid: 0, gid: 0 });
  for (const path of made) await changes.alter(path, { mtime: changes.now });
  return await resolvePath(changes, destination);
}

/**
 * Copies `source` (a path in `from`, its links followed) to `destination` as written (relative to the root, a trailing
 * slash kept). A directory gives its contents.
 */
export async function copyInto(
  changes: Changes,
  from: TreeView,
  source: ByteString,
  destination: string,
  options: CopyOptions,
): Promise<void> {
  const target = await ensureDestination(changes, destination, options);
  const followed = await resolvePath(from, source);
  const node = await from.lstat(followed);
  if (!node) throw missingSource(source);
  const present = await changes.lstat(target);
  const copier = new Copier(changes, from, options);
  if (node.type === "directory") {
    if (present && present.type !== "directory") throw notDirectory(target);
    if (!present) await changes.mkdirAll(target, newDirectoryMode(options), options.owner ?? { uid: 0, gid: 0 });
    await copier.directory(followed, node, target, false);
  } else {
    const inside = present?.type === "directory";
    const name = baseName(cleanPath(source)) || baseName(followed);
    await copier.one(followed, node, inside ? joinPath(target, name) : target);
  }
}

/** A `--parents` word: what comes before `/./` stays behind, what comes after is kept in the destination. */
export function splitPivot(word: string): { readonly base: string; readonly kept: string } {
  const pivot = /^(.*?)(?:^|\/)\.\/(.+)$/.exec(word);
  return pivot ? { base: pivot[1]!, kept: pivot[2]! } : { base: "", kept: word };
}

/** Copies `source` with the directories that lead to it from `base`, as `--parents` does; `destination` is always a directory. */
export async function copyWithParents(
  changes: Changes,
  from: TreeView,
  base: ByteString,
  source: ByteString,
  destination: string,
  options: CopyOptions,
): Promise<void> {
  const top = await ensureDestination(changes, `${destination}/`, options);
  const node = await from.lstat(source);
  if (!node) throw missingSource(source);
  const kept = pathFrom(base, source);
  const copier = new Copier(changes, from, options);
  let target = top;
  let at = base;
  for (const part of kept.split("/").slice(0, -1)) {
    target = joinPath(target, part);
    at = joinPath(at, part);
    await copier.parent(at, target);
  }
  const end = pathBelow(target, baseName(kept));
  if (node.type === "directory") await copier.directory(source, node, end, true);
  else await copier.one(source, node, end);
}

export function missingSource(source: ByteString): AegisError {
  return new AegisError("COPY_SOURCE_MISSING", `"/${decodeText(source)}" is not in the build context or stage`, {
    hint: "check the spelling, and that .dockerignore does not leave it out",
  });
}

/** Puts a file where no directory is. @throws AegisError COPY_OVER_DIRECTORY */
export async function putFile(changes: Changes, target: ByteString, file: NewFile): Promise<void> {
  if ((await changes.lstat(target))?.type === "directory") {
    throw new AegisError("COPY_OVER_DIRECTORY", `can't put a file at /${decodeText(target)}: it is a directory`, {
      hint: "end the destination with a slash to copy into it, or remove the directory in an earlier RUN",
    });
  }
  changes.put(target, file);
}

class Copier {
  /** Names of one source file become names of one new file; of links and devices each is one of its own. */
  readonly #inodes = new Map<string, NewFile>();

  constructor(
    readonly changes: Changes,
    readonly from: TreeView,
    readonly options: CopyOptions,
  ) {}

  async directory(source: ByteString, node: TreeNode, target: ByteString, overwrite: boolean): Promise<void> {
    const present = await this.changes.lstat(target);
    if (present && present.type !== "directory") throw notDirectory(target);
    if (!present) {
      await this.changes.mkdirAll(parentOf(target), 0o755, this.options.owner ?? { uid: 0, gid: 0 });
      this.changes.put(target, { node: this.#attributes(node), content: undefined });
    }
    const names = [...(await this.from.readdir(source))].sort();
    for (const name of names) {
      const child = joinPath(source, name);
      const childNode = await this.from.lstat(child);
      if (!childNode) continue;
      if (childNode.type === "directory") await this.directory(child, childNode, joinPath(target, name), true);
      else await this.one(child, childNode, joinPath(target, name));
    }
    // The directory that was named keeps its own attributes if it was there; those inside take the source's.
    if (!present || overwrite) await this.changes.alter(target, this.#attributes(node));
    else await this.changes.alter(target, { mtime: node.mtime });
  }

  /** A directory on the way to what is copied, with the attributes that it has in the source. */
  async parent(source: ByteString, target: ByteString): Promise<void> {
    const present = await this.changes.lstat(target);
    if (present?.type === "directory") return;
    if (present) throw notDirectory(target);
    const node = await this.from.lstat(source);
    if (node) this.changes.put(target, { node: this.#attributes(node), content: undefined });
  }

  async one(source: ByteString, node: TreeNode, target: ByteString): Promise<void> {
    const inode = node.type === "file" ? node.inode : undefined;
    const known = inode === undefined ? undefined : this.#inodes.get(inode);
    const file: NewFile = known ?? {
      node: this.#attributes(node),
      content: node.type === "file" ? { kind: "view", view: this.from, path: source } : undefined,
    };
    if (inode !== undefined) this.#inodes.set(inode, file);
    await putFile(this.changes, target, file);
  }

  #attributes(node: TreeNode): TreeNode {
    const { owner, chmod } = this.options;
    return {
      ...node,
      uid: owner?.uid ?? node.uid,
      gid: owner?.gid ?? node.gid,
      mode: chmod && node.type !== "symlink" ? chmod.apply(node.mode, node.type === "directory") : node.mode,
    };
  }
}

/** The sources of COPY and ADD: which paths a word means, and a digest of what is there. */
import { createHash } from "node:crypto";
import { goMatch, hasWildcard } from "../../dockerfile/matcher.js";
import { type ByteString, decodeText, encodeText } from "../../support/brands.js";
import { cleanPath, joinPath } from "../../support/tree-paths.js";
import { contentDigest } from "./changes.js";
import { resolvePath, type TreeNode, type TreeView } from "./view.js";

/** A tree that may know its files' digests without reading them. */
export type SourceView = TreeView & { digest?(path: ByteString): Promise<string> };

export interface MatchOptions {
  /** `**` matches across directories (`--parents`). */
  readonly anyDepth?: boolean;
  /** Called with the directory that wildcards were looked for in, when they matched nothing. */
  readonly onNothing?: (directory: ByteString) => Promise<void>;
}

/**
 * The paths that a source word means: itself, or what its wildcards match (Go's filepath.Match, one component at a time).
 * Nothing matching is an empty list; a word without wildcards is returned whether it exists or not.
 */
export async function matchSources(
  view: TreeView,
  word: string,
  options: MatchOptions = {},
): Promise<readonly ByteString[]> {
  const clean = cleanPath(encodeText(word));
  if (!hasWildcard(word)) return [clean];
  const parts = clean.split("/") as ByteString[];
  const first = parts.findIndex(hasWildcard);
  const top = await resolvePath(view, parts.slice(0, first).join("/"));
  let found = [top];
  for (const [i, part] of parts.slice(first).entries()) {
    const next: ByteString[] = [];
    if (part === "**" && options.anyDepth) {
      // At the end it stands for everything below, else for any number of directories.
      const last = i === parts.length - first - 1;
      for (const directory of found)
        next.push(...(last ? await childrenOf(view, directory) : await directoriesIn(view, directory)));
      found = next;
      continue;
    }
    for (const directory of found) {
      for (const name of [...(await view.readdir(directory))].sort()) {
        if (goMatch(decodeText(part), decodeText(name))) next.push(joinPath(directory, name));
      }
    }
    found = next;
  }
  if (found.length === 0) await options.onNothing?.(top);
  return found;
}

const childrenOf = async (view: TreeView, directory: ByteString): Promise<readonly ByteString[]> =>
  [...(await view.readdir(directory))].sort().map((name) => joinPath(directory, name));

/** The directory itself and all below it. */
async function directoriesIn(view: TreeView, top: ByteString): Promise<readonly ByteString[]> {
  const found = [top];
  for (const child of await childrenOf(view, top)) {
    if ((await view.lstat(child))?.type === "directory") found.push(...(await directoriesIn(view, child)));
  }
  return found;
}

/**
 * Digest of what COPY takes from `path`: names, types, modes, owners, link targets and content; no times. Undefined when
 * nothing is there.
 */
export async function digestSource(view: SourceView, path: ByteString): Promise<string | undefined> {
  const followed = await resolvePath(view, path);
  const node = await view.lstat(followed);
  if (!node) return undefined;
  const hash = createHash("sha256");
  let pending = "";
  await visit(followed, "" as ByteString, node);
  flush();
  return hash.digest("hex");

  /** Many small updates cost more than the hashing itself. */
  function flush(): void {
    hash.update(pending, "latin1");
    pending = "";
  }

  async function visit(at: ByteString, relative: ByteString, it: TreeNode): Promise<void> {
    const content =
      it.type === "file" ? await fileDigest(view, at) : (it.linkTarget ?? `${it.devMajor}:${it.devMinor}`);
    pending += `${relative}\0${it.type}\0${it.mode}\0${it.uid}:${it.gid}\0${content}\0`;
    if (it.xattrs || pending.length > 1 << 16) flush();
    for (const [name, value] of it.xattrs ?? []) hash.update(name).update("\0").update(value);
    if (it.type !== "directory") return;
    for (const name of [...(await view.readdir(at))].sort()) {
      const below = joinPath(relative, name);
      const child = joinPath(at, name);
      const childNode = await view.lstat(child);
      if (childNode) await visit(child, below, childNode);
    }
  }
}

async function fileDigest(view: SourceView, path: ByteString): Promise<string> {
  return view.digest ? await view.digest(path) : await contentDigest({ kind: "view", view, path });
}

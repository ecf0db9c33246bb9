/** A tree that was put together in memory, as something to copy from. */
import { createHash } from "node:crypto";
import type { ByteString } from "../../support/brands.js";
import { baseName, parentOf } from "../../support/tree-paths.js";
import { type Changes, contentDigest, copyContent, type NewFile } from "./changes.js";
import type { SourceView } from "./sources.js";
import { rootNode } from "./view.js";

/** What `changes` has added, by itself; later changes don't show. */
export function frozenView(changes: Changes): SourceView {
  const files = new Map(changes.added());
  const names = new Map<NewFile, number>();
  for (const file of files.values()) names.set(file, (names.get(file) ?? 0) + 1);
  const inodes = new Map<NewFile, string>();
  const children = new Map<ByteString, ByteString[]>();
  for (const [path, file] of files) {
    if (path === "") continue;
    if (names.get(file)! > 1 && !inodes.has(file)) inodes.set(file, String(inodes.size));
    const parent = parentOf(path);
    const siblings = children.get(parent);
    if (siblings) siblings.push(baseName(path));
    else children.set(parent, [baseName(path)]);
  }
  const digests = new Map<NewFile, Promise<string>>();
  return {
    async lstat(path) {
      const file = files.get(path);
      if (!file) return path === "" ? rootNode : undefined;
      const inode = file.node.type === "directory" ? undefined : inodes.get(file);
      return inode === undefined ? file.node : { ...file.node, inode };
    },
    readdir: async (path) => children.get(path) ?? [],
    async read(path, sink) {
      const content = files.get(path)?.content;
      if (content) await copyContent(content, sink);
    },
    async digest(path) {
      const file = files.get(path);
      if (!file?.content) return createHash("sha256").digest("hex");
      const known = digests.get(file) ?? contentDigest(file.content);
      digests.set(file, known);
      return await known;
    },
  };
}

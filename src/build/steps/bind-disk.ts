/**
 * The sources of a step's bind mounts, copied into one ext4 image: a machine has room for few disks, and what the step writes
 * must never reach the context or another stage.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Ext4Writer } from "../../ext4/index.js";
import { type ByteString, encodeText } from "../../support/brands.js";
import { joinPath } from "../../support/tree-paths.js";
import { missingSource } from "../tree/copy.js";
import { resolvePath, type TreeNode, type TreeView } from "../tree/view.js";

export class BindDisk implements AsyncDisposable {
  #file: FileHandle | undefined;
  #writer: Ext4Writer | undefined;
  #count = 0;

  constructor(readonly path: string) {}

  /** Copies what is at `path`; `subpath` is where it lies on the disk. @throws AegisError COPY_SOURCE_MISSING */
  async add(view: TreeView, path: ByteString): Promise<{ readonly subpath: string; readonly single: boolean }> {
    const writer = await this.#open();
    const followed = await resolvePath(view, path);
    const node = await view.lstat(followed);
    if (!node) throw missingSource(path);
    const subpath = encodeText(String(this.#count++));
    await push(view, followed, subpath, node, writer);
    return { subpath, single: node.type !== "directory" };
  }

  /** Completes the disk, if anything was added. */
  async finish(): Promise<void> {
    await this.#writer?.finish();
    await this[Symbol.asyncDispose]();
  }

  async #open(): Promise<Ext4Writer> {
    if (this.#writer) return this.#writer;
    const { createExt4Writer } = await import("../../ext4/index.js");
    this.#file = await open(this.path, "wx+", 0o600);
    this.#writer = createExt4Writer({ fd: this.#file.fd }, { uuid: randomBytes(16), journal: false });
    return this.#writer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await this.#writer?.[Symbol.asyncDispose]();
    await file?.close();
  }
}

async function push(
  view: TreeView,
  top: ByteString,
  name: ByteString,
  node: TreeNode,
  writer: Ext4Writer,
): Promise<void> {
  const names = new Map<string, ByteString>();
  await visit(top, name, node);

  async function visit(from: ByteString, to: ByteString, it: TreeNode): Promise<void> {
    const first = it.inode === undefined ? undefined : names.get(it.inode);
    if (first !== undefined) {
      writer.entry({ ...it, path: to, type: "hardlink", size: 0, linkTarget: first });
      return;
    }
    if (it.inode !== undefined) names.set(it.inode, to);
    writer.entry({ ...it, path: to });
    if (it.type === "file" && it.size > 0) await view.read(from, writer);
    await writer.drain();
    if (it.type !== "directory") return;
    for (const child of [...(await view.readdir(from))].sort()) {
      const at = joinPath(from, child);
      const childNode = await view.lstat(at);
      if (childNode) await visit(at, joinPath(to, child), childNode);
    }
  }
}

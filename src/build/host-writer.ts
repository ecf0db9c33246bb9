/**
 * A tree written as files of the host, as `--output type=local` does: modes and times are kept, owners are whoever builds,
 * devices and FIFOs are left out. Nothing is ever written through a link, whatever the tree says.
 */
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import { type ByteString, bytesOf } from "../support/brands.js";
import { hasErrno } from "../support/errors.js";
import type { Timespec, TreeEntry, TreeSink } from "../support/tree.js";

export class HostTreeWriter implements TreeSink {
  readonly #root: Buffer;
  #file: { readonly fd: number; readonly at: Buffer; readonly entry: TreeEntry; position: number } | undefined;
  readonly #directories: { readonly at: Buffer; readonly entry: TreeEntry }[] = [];
  readonly #real = new Set<ByteString>();

  constructor(root: string) {
    mkdirSync(root, { recursive: true });
    this.#root = Buffer.from(root);
    this.#real.add("" as ByteString);
  }

  entry(entry: TreeEntry): void {
    this.#closeFile();
    const parent = entry.path.slice(0, Math.max(0, entry.path.lastIndexOf("/"))) as ByteString;
    if (!this.#real.has(parent)) return;
    const at = this.#at(entry.path);
    const present = lstatSync(at, { throwIfNoEntry: false });
    if (entry.type === "directory") {
      if (present && !present.isDirectory()) unlinkSync(at);
      if (!present?.isDirectory()) mkdirSync(at, { mode: 0o700 });
      this.#real.add(entry.path);
      this.#directories.push({ at, entry });
      return;
    }
    if (present) rmSync(at, { recursive: true, force: true });
    if (entry.type === "symlink") {
      symlinkSync(bytesOf(entry.linkTarget ?? ("" as ByteString)), at);
      touch(at, entry.mtime);
    } else if (entry.type === "hardlink") {
      const target = this.#at(entry.linkTarget ?? ("" as ByteString));
      // What is left out has no more names either.
      if (lstatSync(target, { throwIfNoEntry: false })) linkSync(target, at);
    } else if (entry.type === "file") this.#file = { fd: openSync(at, "wx", 0o600), at, entry, position: 0 };
  }

  data(chunk: Uint8Array): void {
    const file = this.#file;
    if (!file) return;
    for (let done = 0; done < chunk.length; )
      done += writeSync(file.fd, chunk, done, chunk.length - done, file.position + done);
    file.position += chunk.length;
  }

  hole(length: number): void {
    if (this.#file) this.#file.position += length;
  }

  drain(): undefined {
    return undefined;
  }

  /** Completes the last file, and the directories' modes and times, which writing into them would have changed. */
  async finish(): Promise<void> {
    this.#closeFile();
    for (const { at, entry } of this.#directories.reverse()) {
      chmodSync(at, entry.mode);
      touch(at, entry.mtime);
    }
  }

  #at(name: ByteString): Buffer {
    return Buffer.concat([this.#root, Buffer.from(path.sep), bytesOf(name)]);
  }

  #closeFile(): void {
    const file = this.#file;
    if (!file) return;
    this.#file = undefined;
    ftruncateSync(file.fd, file.position);
    closeSync(file.fd);
    chmodSync(file.at, file.entry.mode);
    touch(file.at, file.entry.mtime);
  }
}

function touch(at: Buffer, { sec, nsec }: Timespec): void {
  try {
    lutimesSync(at, sec + nsec / 1e9, sec + nsec / 1e9);
  } catch (error) {
    // Some filesystems keep no times of links.
    if (!hasErrno(error, "EOPNOTSUPP", "ENOSYS", "EINVAL")) throw error;
  }
}

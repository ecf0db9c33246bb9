/**
 * Writes a file tree into a new ext4 filesystem in one pass: content goes to its blocks as it arrives, only names and inodes
 * are kept in memory, and everything that depends on counts is written at the end. Equal entries give equal bytes.
 */
import type { ByteString } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { TreeEntry, TreeSink } from "../support/tree.js";
import { BlockAllocator } from "./allocator.js";
import { ContentWriter } from "./content.js";
import { Finisher } from "./finish.js";
import { BLOCK_SIZE } from "./geometry.js";
import { fileMode, INLINE_SIZE, type InodeType, inodeType, LOST_FOUND_INODE } from "./inode.js";
import { InodeStore } from "./inode-store.js";
import { Namespace } from "./namespace.js";
import { Output } from "./output.js";
import { punchHoles } from "./punch.js";
import { TreeBuilder } from "./tree-builder.js";
import { XattrStore } from "./xattr-store.js";

export interface Ext4WriterOptions {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** 16 bytes that the hashes of names start from; the UUID unless told. */
  readonly hashSeed?: Uint8Array | undefined;
  /** At most 16 bytes of UTF-8. */
  readonly label?: string | undefined;
  /** Bytes of the whole filesystem; more if the content needs more. The file grows sparsely. */
  readonly sizeBytes?: number | undefined;
  /** Free bytes wanted beyond the content; 0 unless told. */
  readonly headroomBytes?: number | undefined;
  /** Without a journal, or with one of so many bytes; by default with one that suits the size. */
  readonly journal?: boolean | number | undefined;
  /**
   * Whether the root gets the directory that e2fsck puts strays into, unless an entry makes it. True unless told; e2fsck is
   * content without it, too.
   */
  readonly lostAndFound?: boolean | undefined;
  /** Seconds since the epoch for the filesystem itself and for what no entry gives a time; 0 unless told. */
  readonly timestamp?: number | undefined;
}

export interface Ext4Summary {
  /** Bytes of the filesystem, and of the file. */
  readonly sizeBytes: number;
  /** Bytes of blocks in use, metadata included (what is reserved for inodes and journal too). */
  readonly usedBytes: number;
  /** Inodes in use. */
  readonly inodes: number;
}

/** What the writer knows about a path. */
export interface WrittenNode {
  readonly type: InodeType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly inode: number;
  readonly symlinkTarget: ByteString | undefined;
}

/**
 * A sink that becomes a filesystem. Entries may come in any order; directories that no entry names are made with mode 0755,
 * owned by root, with the time of the entry that needed them. An entry for an existing path replaces it; a directory
 * over a directory only replaces its attributes. Hold it with `await using`: a writer that is given up may still be
 * writing to the file, which must not be closed before.
 */
export interface Ext4Writer extends TreeSink, AsyncDisposable {
  /** What follows belongs to a layer on top of what came before. */
  beginLayer(): void;
  /** Removes a path and everything under it, whichever layer it came from. */
  remove(path: ByteString): void;
  /** A whiteout: removes a path and everything under it that earlier layers made. */
  removeLower(path: ByteString): void;
  /** An opaque marker: removes what earlier layers put into a directory. */
  removeLowerChildren(path: ByteString): void;
  has(path: ByteString): boolean;
  /** What is at a path now, symlinks not followed. */
  lookup(path: ByteString): WrittenNode | undefined;
  /**
   * Completes the filesystem. Syncing and closing the file is the caller's part.
   * @throws AegisError EXT4_WRITE_FAILED
   */
  finish(): Promise<Ext4Summary>;
}

const typeBits = {
  file: fileMode.file,
  directory: fileMode.directory,
  symlink: fileMode.symlink,
  char: fileMode.char,
  block: fileMode.block,
  fifo: fileMode.fifo,
} as const;

/** The longest target the kernel follows (PATH_MAX without its terminator). */
const MAX_TARGET_LENGTH = 4095;
/** Largest file of 2^32 - 1 blocks. */
const MAX_FILE_SIZE = (2 ** 32 - 1) * BLOCK_SIZE;
const LOST_FOUND = "lost+found" as ByteString;

/**
 * A writer into `file`, which must be an open, writable, empty regular file.
 * @throws AegisError EXT4_NOT_EMPTY, EXT4_BAD_OPTIONS; its calls throw further EXT4_ codes for entries that ext4 can't hold
 */
export function createExt4Writer(file: { readonly fd: number }, options: Ext4WriterOptions): Ext4Writer {
  const hashSeed = options.hashSeed ?? options.uuid;
  const label = options.label ?? "";
  if (options.uuid.length !== 16 || hashSeed.length !== 16 || Buffer.byteLength(label) > 16) {
    throw new AegisError("EXT4_BAD_OPTIONS", "uuid and hash seed take 16 bytes each, a label at most 16");
  }
  const mtime = { sec: options.timestamp ?? 0, nsec: 0 };
  const identity = { uuid: options.uuid, hashSeed, label, timestamp: mtime.sec };
  const output = new Output(file.fd);
  const names = new Namespace();
  const inodes = new InodeStore();
  const blocks = new BlockAllocator();
  const xattrs = new XattrStore();
  const content = new ContentWriter(blocks, inodes, output);
  const tree = new TreeBuilder(names, inodes, blocks);
  tree.begin(mtime);
  /** The file whose content is expected. */
  let current = 0;

  const endFile = () => {
    const { extentsAt, extentCount } = content.end();
    inodes.extentsAt[current] = extentsAt;
    inodes.extentCount[current] = extentCount;
    current = 0;
  };
  const requireComplete = () => {
    if (current !== 0)
      throw new AegisError("EXT4_CONTENT", `the file before lacks ${content.remaining} bytes of its content`);
  };
  const take = (length: number) => {
    if (length > content.remaining || current === 0) {
      throw new AegisError("EXT4_CONTENT", "a file's content is longer than its entry says");
    }
  };

  const symlink = (entry: TreeEntry, attributes: Parameters<TreeBuilder["putNode"]>[1]) => {
    const target = entry.linkTarget ?? "";
    if (target.length === 0 || target.length > MAX_TARGET_LENGTH) {
      throw new AegisError(
        "EXT4_SYMLINK_TARGET",
        `the target of symlink "${entry.path}" is empty or longer than ${MAX_TARGET_LENGTH} bytes`,
      );
    }
    const address = inodes.targets.put(target, 0, target.length);
    current = tree.putNode(entry.path, attributes, target.length, address);
    content.begin(target.length < INLINE_SIZE ? 0 : target.length);
    if (target.length >= INLINE_SIZE) content.data(Buffer.from(target, "latin1"));
    endFile();
  };

  const put = (entry: TreeEntry) => {
    if (entry.type === "hardlink") {
      tree.putLink(entry.path, entry.linkTarget ?? ("" as ByteString), entry.mtime);
      return;
    }
    const { uid, gid, mtime } = entry;
    if (!isOwner(uid) || !isOwner(gid)) {
      throw new AegisError("EXT4_OWNER", `the owner ${uid}:${gid} of "${entry.path}" is out of range`);
    }
    const attributes = {
      mode: typeBits[entry.type] | (entry.mode & 0o7777),
      uid,
      gid,
      mtime,
      xattrs: xattrs.intern(entry.xattrs),
    };
    switch (entry.type) {
      case "directory":
        tree.putDirectory(entry.path, attributes);
        break;
      case "symlink":
        symlink(entry, attributes);
        break;
      case "file":
        if (entry.size > MAX_FILE_SIZE)
          throw new AegisError("EXT4_FILE_TOO_LARGE", `"${entry.path}" is larger than 16 TiB`);
        current = tree.putNode(entry.path, attributes, entry.size, 0);
        content.begin(entry.size);
        if (entry.size === 0) endFile();
        break;
      case "char":
      case "block":
        tree.putNode(entry.path, attributes, 0, deviceNumber(entry));
        break;
      case "fifo":
        tree.putNode(entry.path, attributes, 0, 0);
        break;
    }
  };

  return {
    entry(entry) {
      requireComplete();
      if (entry.path === "" && entry.type !== "directory") {
        throw new AegisError("EXT4_BAD_PATH", `the root of a filesystem can't be a ${entry.type}`);
      }
      put(entry);
    },
    data(chunk) {
      if (chunk.length === 0) return;
      take(chunk.length);
      content.data(chunk);
      if (content.remaining === 0) endFile();
    },
    hole(length) {
      if (length === 0) return;
      take(length);
      content.hole(length);
      if (content.remaining === 0) endFile();
    },
    drain: () => output.drain(),
    beginLayer() {
      requireComplete();
      tree.layer++;
    },
    remove(path) {
      requireComplete();
      tree.remove(path);
    },
    removeLower(path) {
      requireComplete();
      tree.removeLower(path, { keepSelf: false });
    },
    removeLowerChildren(path) {
      requireComplete();
      tree.removeLower(path, { keepSelf: true });
    },
    has: (path) => tree.find(path) !== 0,
    lookup(path) {
      const inode = tree.find(path);
      if (inode === 0) return undefined;
      const mode = inodes.mode[inode]!;
      const type = inodeType(mode)!;
      const size = inodes.size[inode]!;
      const symlinkTarget = type === "symlink" ? tree.symlinkTarget(inode) : undefined;
      return {
        type,
        mode: mode & 0o7777,
        uid: inodes.uid[inode]!,
        gid: inodes.gid[inode]!,
        size,
        inode,
        symlinkTarget,
      };
    },
    [Symbol.asyncDispose]: () => output.settle(),
    async finish() {
      requireComplete();
      // e2fsck wants the directory; its inode is set apart for it, so that it never moves others.
      if (options.lostAndFound !== false && !tree.find(LOST_FOUND))
        tree.putLostFound(LOST_FOUND, LOST_FOUND_INODE, mtime);
      const dirty = blocks.freeRuns();
      const finisher = new Finisher({ names, inodes, blocks, output, xattrs }, identity);
      const { sizeBytes, headroomBytes = 0 } = options;
      const journal = journalBlocks(
        options.journal ?? true,
        Math.max(sizeBytes ?? 0, blocks.tail * BLOCK_SIZE + headroomBytes),
      );
      const plan = finisher.finish({ sizeBytes, headroomBytes }, journal);
      await output.flush();
      await punchHoles(file.fd, dirty);
      const free = blocks.freeRuns().reduce((sum, run) => sum + run.length, 0);
      let used = 0;
      for (let inode = 1; inode < inodes.end; inode++) if (inodes.mode[inode] !== 0) used++;
      return { sizeBytes: plan.blocks * BLOCK_SIZE, usedBytes: (blocks.tail - free) * BLOCK_SIZE, inodes: used };
    },
  };
}

/** What doesn't fit into 32 bits must not become somebody else, least of all root. */
const isOwner = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < 2 ** 32;

function deviceNumber({ path, devMajor = 0, devMinor = 0 }: TreeEntry): number {
  if (devMajor < 0 || devMajor >= 2 ** 12 || devMinor < 0 || devMinor >= 2 ** 20) {
    throw new AegisError(
      "EXT4_DEVICE_NUMBER",
      `the device number ${devMajor}:${devMinor} of "${path}" is out of range`,
    );
  }
  return devMajor * 2 ** 20 + devMinor;
}

/** Blocks of the journal: what mke2fs takes for a filesystem of that size, or what was asked for but at least 1024. */
function journalBlocks(journal: boolean | number, sizeBytes: number): number {
  if (typeof journal === "number") return Math.max(Math.ceil(journal / BLOCK_SIZE), 1024);
  if (!journal) return 0;
  const steps: readonly (readonly [number, number])[] = [
    [2 ** 27, 1024],
    [2 ** 30, 4096],
    [2 ** 31, 8192],
    [2 ** 34, 16384],
    [2 ** 35, 32768],
    [2 ** 37, 65536],
  ];
  return steps.find(([limit]) => sizeBytes < limit)?.[1] ?? 262144;
}

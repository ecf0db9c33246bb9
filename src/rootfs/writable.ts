/** Writable disks: what an instance or a build step writes, as the upper of an overlay over image disks. */
import path from "node:path";
import { createExt4Writer } from "../ext4/index.js";
import { type ByteString, encodeText } from "../support/brands.js";
import { replaceFile } from "../support/files.js";
import type { Timespec, TreeEntry } from "../support/tree.js";
import { whiteoutDevice } from "./overlay-marks.js";
import { openTreeView } from "./tree-view.js";
import type { RootDisks } from "./types.js";
import type { TreeView } from "./view.js";

export interface WritableDiskOptions {
  /** Bytes of the filesystem; the file is sparse. */
  readonly sizeBytes: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** What it will lie over, as disks or opened already: the root directory takes its attributes from there. */
  readonly disks?: RootDisks | undefined;
  readonly over?: Pick<TreeView, "lookup"> | undefined;
  /** Of one build step alone: nothing that happens to the machine makes it worth reading again. */
  readonly passing?: boolean | undefined;
  /** The root directory's time where what lies below has none. */
  readonly mtime?: Timespec | undefined;
}

/** Directories of a writable disk: the overlay's upper and work directories, and anonymous volumes. */
export const writableLayout = {
  upper: encodeText("upper"),
  work: encodeText("work"),
  volumes: encodeText("volumes"),
} as const;

const lostFound = encodeText("lost+found");

/**
 * Creates the disk at `file`, in milliseconds and with next to no bytes whatever its size.
 * @throws AegisError EXT4_WRITE_FAILED
 */
export async function createWritableDisk(file: string, options: WritableDiskOptions): Promise<void> {
  const { root, hasLostFound } = await rootOf(options);
  await replaceFile(
    file,
    async ({ fd }) => {
      const { uuid, sizeBytes, passing = false } = options;
      await using writer = createExt4Writer({ fd }, { uuid, sizeBytes, journal: !passing });
      writer.entry({ ...root, path: writableLayout.upper });
      // Every ext4 disk has this directory, an image has not: it must not show in the guest.
      if (!hasLostFound) writer.entry(whiteoutDevice(`${writableLayout.upper}/${lostFound}` as ByteString));
      writer.entry({ ...plain, mode: 0o700, path: writableLayout.work });
      writer.entry({ ...plain, mode: 0o700, path: writableLayout.volumes });
      await writer.finish();
    },
    { tmpDir: path.dirname(file), durable: options.passing !== true },
  );
}

const plain = { type: "directory", mode: 0o755, uid: 0, gid: 0, size: 0, mtime: { sec: 0, nsec: 0 } } as const;

interface Root {
  readonly root: Omit<TreeEntry, "path">;
  readonly hasLostFound: boolean;
}

async function rootOf({ disks, over, mtime }: Omit<WritableDiskOptions, "sizeBytes" | "uuid">): Promise<Root> {
  if (over) {
    const entry = (await over.lookup("" as ByteString))?.entry ?? plain;
    const dated = mtime && entry.mtime.sec === 0 && entry.mtime.nsec === 0 ? { ...entry, mtime } : entry;
    return { root: dated, hasLostFound: (await over.lookup(lostFound)) !== undefined };
  }
  if (!disks) return { root: plain, hasLostFound: false };
  await using view = await openTreeView(disks);
  return await rootOf({ over: view, mtime });
}

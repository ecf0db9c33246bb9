/** A root filesystem as one bootable ext4 file, for any other VMM: `root=/dev/vda`. */
import { createHash } from "node:crypto";
import { createExt4Writer, type Ext4Summary } from "../ext4/index.js";
import { replaceFile } from "../support/files.js";
import { openTreeView } from "./tree-view.js";
import type { RootDisks } from "./types.js";
import { pushTree } from "./view.js";

export interface ExportOptions {
  /** Bytes of the filesystem; unless told, as many as the content needs and `headroomBytes` more. The file is sparse. */
  readonly sizeBytes?: number | undefined;
  readonly headroomBytes?: number | undefined;
  /** 16 bytes; derived from the chain id unless told. */
  readonly uuid?: Uint8Array | undefined;
  /** An instance's writable disk, whose changes come on top. */
  readonly writable?: string | undefined;
}

/** A root filesystem that is booted gets written to. */
const defaultHeadroom = 256 << 20;

/**
 * Writes the merged tree to `file`. The same image gives the same bytes.
 * @throws AegisError EXT4_CORRUPT, EXT4_WRITE_FAILED
 */
export async function exportMergedDisk(
  disks: RootDisks,
  file: string,
  options: ExportOptions = {},
): Promise<Ext4Summary> {
  await using view = await openTreeView(disks, options.writable);
  const uuid = options.uuid ?? createHash("sha256").update(`export ${disks.chainId}`).digest().subarray(0, 16);
  let summary: Ext4Summary | undefined;
  await replaceFile(file, async ({ fd }) => {
    const { sizeBytes } = options;
    const headroomBytes = options.headroomBytes ?? (sizeBytes === undefined ? defaultHeadroom : undefined);
    await using writer = createExt4Writer({ fd }, { uuid, sizeBytes, headroomBytes });
    await pushTree(view, writer);
    summary = await writer.finish();
  });
  return summary!;
}

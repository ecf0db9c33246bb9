/** Image disks and writable disks: what a root filesystem is put together from. */
import type { ChainId } from "../support/brands.js";

/**
 * A read-only, content-addressed ext4 file. A `base` disk holds a merged tree with whiteouts resolved. A `delta` disk is
 * an overlay lower for the disk below it: removed names are 0:0 character devices, opaque directories carry
 * `trusted.overlay.opaque=y`.
 */
export interface ImageDisk {
  readonly kind: "base" | "delta";
  readonly chainId: ChainId;
  /** Host path of the file; lives in `$AEGIS_HOME/disks`. */
  readonly path: string;
}

/** The lowers of an overlay root, bottom first: one base and at most one delta (libkrun has 11 IRQs, so disks are few). */
export interface RootDisks {
  readonly chainId: ChainId;
  readonly lowers: readonly ImageDisk[];
}

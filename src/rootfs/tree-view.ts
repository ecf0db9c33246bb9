/** The root filesystem of an image or an instance, read on the host without mounting anything. */
import type { ByteString } from "../support/brands.js";
import { openDisk } from "./disk-tree.js";
import { overlayView } from "./overlay.js";
import type { RootDisks } from "./types.js";
import type { OpenTreeView } from "./view.js";

const upper = "upper" as ByteString;

/**
 * Opens the merged view of an image's disks, with an instance's writable disk on top if `writable` names one.
 * @throws AegisError EXT4_CORRUPT, EXT4_UNSUPPORTED; so do the view's methods
 */
export async function openTreeView(disks: RootDisks, writable?: string): Promise<OpenTreeView> {
  const open: OpenTreeView[] = [];
  const close = async () => {
    for (const view of open) await view[Symbol.asyncDispose]();
  };
  try {
    for (const { path } of disks.lowers) open.push(openDisk(path).view);
    if (writable !== undefined) open.push(openUpper(writable));
  } catch (error) {
    await close();
    throw error;
  }
  return { ...overlayView(open), [Symbol.asyncDispose]: close };
}

/** The raw upper directory of a writable disk, for `diffUpper`: whiteout devices and overlay attributes included. */
export function openUpper(writable: string): OpenTreeView {
  return openDisk(writable, { top: upper }).view;
}

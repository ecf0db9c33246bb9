/** How the kernel's overlay writes down removal. Kernel docs: filesystems/overlayfs.rst, "whiteouts and opaque directories". */
import type { ByteString } from "../support/brands.js";
import type { TreeEntry } from "../support/tree.js";

export const opaqueXattr = "trusted.overlay.opaque";
const prefix = "trusted.overlay.";

export const isWhiteout = (entry: TreeEntry): boolean => entry.type === "char" && !entry.devMajor && !entry.devMinor;

export const isOpaque = (entry: TreeEntry): boolean => entry.xattrs?.get(opaqueXattr)?.[0] === 0x79;

export function whiteoutDevice(path: ByteString): TreeEntry {
  return { path, type: "char", mode: 0, uid: 0, gid: 0, size: 0, mtime: { sec: 0, nsec: 0 }, devMajor: 0, devMinor: 0 };
}

/** The overlay's own attributes mean something to the kernel, so they are never part of an image. */
export function withoutOverlayXattrs(entry: TreeEntry): TreeEntry {
  if (!entry.xattrs || ![...entry.xattrs.keys()].some((name) => name.startsWith(prefix))) return entry;
  const xattrs = new Map([...entry.xattrs].filter(([name]) => !name.startsWith(prefix)));
  return { ...entry, xattrs: xattrs.size > 0 ? xattrs : undefined };
}

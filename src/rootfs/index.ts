/** Root filesystems: image disks out of layers, writable disks over them, layers out of what was written. */
export { type Change, changesOf, type DiffOptions, diffUpper } from "./diff.js";
export { ensureRootDisks, type RootImage } from "./disks.js";
export { type ExportOptions, exportMergedDisk } from "./export.js";
export { hostView } from "./host-tree.js";
export type { StreamOptions } from "./layer-stream.js";
export { openTreeView, openUpper } from "./tree-view.js";
export type { ImageDisk, RootDisks } from "./types.js";
export { type OpenTreeView, pushTree, resolvePath, type TreeView, type ViewNode } from "./view.js";
export { createWritableDisk, type WritableDiskOptions, writableLayout } from "./writable.js";

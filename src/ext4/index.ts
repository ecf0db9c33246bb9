/** ext4 filesystems as bytes: a writer that turns a file tree into an image, a reader that gives it back. */
export {
  createExt4Writer,
  type Ext4Summary,
  type Ext4Writer,
  type Ext4WriterOptions,
  type WrittenNode,
} from "./writer.js";

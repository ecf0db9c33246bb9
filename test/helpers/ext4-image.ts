/** ext4 images in temporary files for tests. */
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  createExt4Writer,
  type Ext4Reader,
  type Ext4Summary,
  type Ext4Writer,
  type Ext4WriterOptions,
  openExt4,
} from "../../src/ext4/index.js";
import type { ByteString } from "../../src/support/brands.js";
import { TreeLines } from "./tree-lines.js";

export const testUuid = Buffer.from("00112233445566778899aabbccddeeff", "hex");

/** Runs `use` with a directory that is gone afterwards. */
export async function withScratch<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(path.join(tmpdir(), "aegis-ext4-"));
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Writes an image with what `fill` pushes. */
export async function writeImage(
  file: string,
  fill: (writer: Ext4Writer) => void | Promise<void>,
  options: Partial<Ext4WriterOptions> = {},
): Promise<Ext4Summary> {
  const fd = openSync(file, "wx+");
  try {
    await using writer = createExt4Writer({ fd }, { uuid: testUuid, ...options });
    await fill(writer);
    return await writer.finish();
  } finally {
    closeSync(fd);
  }
}

/** Opens an image for the time of `use`. */
export async function readImage<T>(file: string, use: (reader: Ext4Reader) => T | Promise<T>): Promise<T> {
  const fd = openSync(file, "r");
  try {
    return await use(openExt4({ fd }));
  } finally {
    closeSync(fd);
  }
}

/** The tree in an image, without lost+found. */
export async function imageLines(file: string, root = ""): Promise<string[]> {
  const sink = new TreeLines();
  await readImage(file, (reader) => reader.walk(root as ByteString, sink, { skip: (at) => at === "lost+found" }));
  return sink.lines();
}

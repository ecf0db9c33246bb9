/**
 * Tar to tree entries, streaming: ustar, v7, pax, GNU long names and sparse files. It relies on nothing the archive says:
 * every length is bounded, every path normalised, everything else refused as TAR_CORRUPT. Global pax headers are skipped,
 * as all of Go's tools do, so that one layer means the same tree everywhere.
 */
import type { FileHandle } from "node:fs/promises";
import type { ByteString } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { TreeSink } from "../../support/tree.js";
import { readChunks } from "../read-chunks.js";
import { blockSize, corrupt, fields, isZeroBlock, paddingOf, typeFlags } from "./format.js";
import { type Extension, type RawHeader, readEntry, readHeader, type TarRules, unsupported } from "./header.js";
import { parsePax } from "./pax.js";
import {
  checkSegments,
  createInlineMapReader,
  maxSegments,
  oldMapIsExtended,
  readOldMap,
  type Segment,
} from "./sparse.js";

/** As in Go's archive/tar: no honest long name or extended header is larger. */
const maxMetadata = 1 << 20;
/** `drain` is asked for about so often. */
const pieceSize = 1 << 20;

export interface TarDecoder {
  /** Takes any number of bytes; the chunk is borrowed. */
  write(chunk: Uint8Array): void;
  /** @throws AegisError TAR_CORRUPT when the archive stops in the middle of something */
  end(): void;
  /** True when the archive's end was met: nothing that follows counts. */
  readonly ended: boolean;
}

type State = "header" | "metadata" | "skip" | "old-map" | "inline-map" | "content" | "padding" | "end";

/**
 * A push decoder. After the two zero blocks that end an archive everything is ignored.
 * @throws AegisError TAR_CORRUPT, TAR_UNSUPPORTED, and whatever the sink throws
 */
export function createTarDecoder(sink: TreeSink, options: TarRules = {}): TarDecoder {
  const { climbing = "stop", gnu = "read" } = options;
  const block = Buffer.allocUnsafe(blockSize);
  let filled = 0;
  let position = 0;
  let state: State = "header";
  let zeroBlocks = 0;
  /** Bytes of body that are still to come, and the zeros after them. */
  let remaining = 0;
  let padding = 0;
  let metadata: { readonly type: string; readonly bytes: Buffer } | undefined;
  let extension: Extension = {};
  let sparse: { segments: Segment[]; realSize: number; index: number; done: number; logical: number } | undefined;
  let oldHeader: RawHeader | undefined;
  let readMap = createInlineMapReader();

  function onHeader(bytes: Buffer): void {
    if (isZeroBlock(bytes)) {
      if (++zeroBlocks === 2) state = "end";
      return;
    }
    if (zeroBlocks > 0) throw corrupt(position, "a single zero block is followed by more");
    const header = readHeader(bytes, position);
    remaining = header.size;
    padding = paddingOf(header.size);
    switch (header.type) {
      case typeFlags.paxHeader:
      case typeFlags.solarisPax:
      case typeFlags.gnuLongName:
      case typeFlags.gnuLongLink:
        if (header.size > maxMetadata) throw corrupt(position, "an extended header is larger than 1 MiB");
        metadata = { type: header.type, bytes: Buffer.allocUnsafe(header.size) };
        enter("metadata");
        break;
      case typeFlags.gnuVolume:
        if (gnu === "refuse") throw unsupported(header.type, position);
        enter("skip");
        break;
      case typeFlags.paxGlobal:
        enter("skip");
        break;
      case typeFlags.gnuSparse:
        oldHeader = { ...header, block: Buffer.from(bytes) };
        sparse = newSparse(guarded(() => readOldMap(bytes, fields.sparseMap[0], 4)));
        if (oldMapIsExtended(bytes)) state = "old-map";
        else onEntry(oldHeader);
        break;
      default:
        onEntry(header);
    }
  }

  function onEntry(header: RawHeader): void {
    const read = readEntry(header, extension, { position, climbing, gnu });
    extension = {};
    oldHeader = undefined;
    remaining = read.stored;
    padding = paddingOf(read.stored);
    if (read.sparse) sparse = newSparse(read.sparse.map === "inline" ? [] : [...read.sparse.map]);
    sink.entry(read.entry);
    if (read.entry.type !== "file") {
      enter("skip");
    } else if (sparse && read.sparse?.map === "inline") {
      sparse.realSize = read.entry.size;
      readMap = createInlineMapReader();
      state = "inline-map";
    } else {
      if (sparse) beginSparse(read.entry.size);
      enter("content");
    }
  }

  function beginSparse(realSize: number): void {
    const current = sparse!;
    guarded(() => checkSegments(current.segments, realSize, remaining));
    current.realSize = realSize;
  }

  function onInlineMap(bytes: Buffer): void {
    if (remaining < blockSize) throw corrupt(position, "a sparse file ends inside of its map");
    remaining -= blockSize;
    const segments = guarded(() => readMap(bytes));
    if (segments === undefined) return;
    sparse!.segments = [...segments];
    beginSparse(sparse!.realSize);
    enter("content");
  }

  function onOldMap(bytes: Buffer): void {
    sparse!.segments.push(...guarded(() => readOldMap(bytes, 0, 21)));
    if (sparse!.segments.length > maxSegments) throw corrupt(position, "a sparse map is too long");
    if (!oldMapIsExtended(bytes, 504)) onEntry(oldHeader!);
  }

  /** Goes on to a body; an empty one is over at once. */
  function enter(next: "metadata" | "skip" | "content"): void {
    state = next;
    if (remaining === 0) bodyEnded();
  }

  function bodyEnded(): void {
    if (state === "metadata") onMetadata();
    if (state === "content" && sparse) {
      if (sparse.realSize > sparse.logical) sink.hole(sparse.realSize - sparse.logical);
      sparse = undefined;
    }
    state = padding > 0 ? "padding" : "header";
  }

  function onMetadata(): void {
    const { type, bytes } = metadata!;
    metadata = undefined;
    if (type === typeFlags.paxHeader || type === typeFlags.solarisPax) {
      const pax = guarded(() => parsePax(bytes));
      extension = { ...extension, pax };
      return;
    }
    const nul = bytes.indexOf(0);
    const name = bytes.toString("latin1", 0, nul < 0 ? bytes.length : nul) as ByteString;
    extension = type === typeFlags.gnuLongName ? { ...extension, longName: name } : { ...extension, longLink: name };
  }

  function onBody(bytes: Buffer): void {
    if (state === "metadata") bytes.copy(metadata!.bytes, metadata!.bytes.length - remaining);
    if (state === "content") {
      if (sparse) sparseContent(bytes);
      else sink.data(bytes);
    }
    remaining -= bytes.length;
    if (remaining === 0) bodyEnded();
  }

  function sparseContent(bytes: Buffer): void {
    const current = sparse!;
    for (let at = 0; at < bytes.length; ) {
      const segment = current.segments[current.index]!;
      if (current.done === segment.length) {
        current.index++;
        current.done = 0;
        continue;
      }
      if (segment.offset + current.done > current.logical) sink.hole(segment.offset - current.logical);
      const length = Math.min(segment.length - current.done, bytes.length - at);
      sink.data(bytes.subarray(at, at + length));
      at += length;
      current.done += length;
      current.logical = segment.offset + current.done;
    }
  }

  function guarded<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      throw error instanceof AegisError ? error : corrupt(position, (error as Error).message);
    }
  }

  function onBlock(bytes: Buffer): void {
    if (state === "header") onHeader(bytes);
    else if (state === "old-map") onOldMap(bytes);
    else onInlineMap(bytes);
    position += blockSize;
  }

  function write(input: Uint8Array): void {
    const chunk = Buffer.isBuffer(input) ? input : Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    for (let at = 0; at < chunk.length && state !== "end"; ) {
      if (state === "header" || state === "old-map" || state === "inline-map") {
        if (filled === 0 && chunk.length - at >= blockSize) {
          onBlock(chunk.subarray(at, at + blockSize));
          at += blockSize;
          continue;
        }
        const taken = chunk.copy(block, filled, at, Math.min(chunk.length, at + blockSize - filled));
        filled += taken;
        at += taken;
        if (filled < blockSize) return;
        filled = 0;
        onBlock(block);
      } else if (state === "padding") {
        const taken = Math.min(padding, chunk.length - at);
        padding -= taken;
        at += taken;
        position += taken;
        if (padding === 0) state = "header";
      } else {
        const taken = Math.min(remaining, chunk.length - at);
        position += taken;
        onBody(chunk.subarray(at, at + taken));
        at += taken;
      }
    }
  }

  function end(): void {
    // Writers that leave out the two zero blocks, or the last padding, are tolerated as everywhere.
    const extended = extension.pax ?? extension.longName ?? extension.longLink;
    const clean = state === "end" || state === "padding" || (state === "header" && filled === 0);
    if (!clean || extended !== undefined) throw corrupt(position + filled, "it stops in the middle of an entry");
  }

  return {
    write,
    end,
    get ended() {
      return state === "end";
    },
  };
}

const newSparse = (segments: Segment[]) => ({ segments, realSize: 0, index: 0, done: 0, logical: 0 });

/**
 * Decodes a whole archive into `sink`, waiting for it when it is full. Reads a file handle in pieces of 1 MiB.
 * @throws AegisError TAR_CORRUPT, TAR_UNSUPPORTED, and whatever source or sink throw
 */
export async function decodeTar(source: AsyncIterable<Uint8Array> | FileHandle, sink: TreeSink): Promise<void> {
  const decoder = createTarDecoder(sink);
  const chunks = Symbol.asyncIterator in source ? source : readChunks(source);
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += pieceSize) {
      decoder.write(chunk.length <= pieceSize ? chunk : chunk.subarray(at, at + pieceSize));
      const full = sink.drain();
      if (full) await full;
    }
  }
  decoder.end();
}

/** Takes a tree and keeps nothing: for reading an archive only to see that it is sound. */
export const discardTree: TreeSink = {
  entry: () => undefined,
  data: () => undefined,
  hole: () => undefined,
  drain: () => undefined,
};

/**
 * What the main thread and a decoding thread say to each other. Decoded bytes never travel in messages: both see one shared
 * memory of equal slots, and a message says which slot was filled, or may be filled again. A thread has one job at a time:
 *
 *     decode ->       <- filled (any number)        <- ended | failed
 *                free, cancel ->
 *
 *     hash ->                                       <- ended | failed
 *                cancel ->
 */
import type { BlobFacts, DecodeRequest } from "./blob.js";

/** Bytes of a slot. */
export const slotSize = 1 << 20;

export type ToThread =
  | ({
      readonly type: "decode";
      /** Open for reading until the job has ended or failed. */
      readonly fd: number;
      /** A whole number of slots, all of them free. */
      readonly memory: SharedArrayBuffer;
    } & DecodeRequest)
  /** A plain tar: the main thread reads it itself. */
  | { readonly type: "hash"; readonly fd: number }
  | { readonly type: "free"; readonly slot: number }
  /** The rest is not wanted; the job fails soon, if it has not ended. */
  | { readonly type: "cancel" };

export type FromThread =
  | { readonly type: "filled"; readonly slot: number; readonly length: number }
  | { readonly type: "ended"; readonly facts: BlobFacts }
  | { readonly type: "failed"; readonly failure: Failure };

/** An error as it travels: classes don't survive the way. */
export interface Failure {
  readonly message: string;
  /** An AegisError's, or a system error's. */
  readonly code: string | undefined;
  readonly hint: string | undefined;
  readonly isAegis: boolean;
}

/** What a pull or push tells while it runs. Nothing here is text for people: reporters draw it. */
import type { Digest } from "../../support/brands.js";
import type { Descriptor, ImageConfig, ImageManifest, Platform } from "../types.js";

export type TransferEvent =
  /** The name has been looked up. */
  | { readonly type: "resolved"; readonly name: string; readonly target: Descriptor }
  /** Which image it is: layers can be awaited and assembled from here on. */
  | {
      readonly type: "image";
      readonly descriptor: Descriptor;
      readonly manifest: ImageManifest;
      readonly config: ImageConfig;
    }
  | BlobEvent
  | { readonly type: "manifest"; readonly digest: Digest; readonly status: "exists" | "pushed" }
  /** Only one platform of an index whose others are not in the store is pushed. */
  | { readonly type: "partial"; readonly platform: Platform };

export interface BlobEvent {
  readonly type: "blob";
  readonly digest: Digest;
  readonly status: /** Another process fetches it; `done` is how far that one is. */
  "waiting" | "downloading" | "uploading" | "retrying" | "exists" | "mounted" | "done";
  /** Bytes. */
  readonly done: number;
  readonly total: number;
}

export type Report = (event: TransferEvent) => void;

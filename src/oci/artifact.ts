/** What lies somewhere as a manifest with a config and layers, an image or anything else, before any of its layers is here. */
import { AegisError } from "../support/errors.js";
import { maxDocumentSize } from "./documents.js";
import type { Descriptor, ImageManifest } from "./types.js";

export interface Artifact extends AsyncDisposable {
  readonly manifest: ImageManifest;
  /** Bytes of the config, verified. */
  readonly config: Buffer;
  /** Brings one of the manifest's layers into the store, verified. */
  fetch(layer: Descriptor): Promise<void>;
}

/** @throws AegisError BLOB_TOO_LARGE for a config that is no document */
export function checkConfigSize({ config }: ImageManifest): void {
  if (config.size <= maxDocumentSize) return;
  throw new AegisError("BLOB_TOO_LARGE", `the config ${config.digest} is larger than ${maxDocumentSize} bytes`);
}

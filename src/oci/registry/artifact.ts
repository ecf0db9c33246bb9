/** Artifacts of a registry: manifest and config at once, layers one by one when they are wanted. */
import { type Artifact, checkConfigSize } from "../artifact.js";
import { parseManifest } from "../documents.js";
import { parseReference } from "../references.js";
import type { ImageStore } from "../store.js";
import { fetchBlob } from "./download.js";
import { fetchChosen, type PullOptions } from "./pull.js";
import { openSession } from "./session.js";

/**
 * Looks up what `text` names; of an index, what it has for the platform.
 * @throws AegisError REGISTRY_*, NO_SUCH_PLATFORM, DIGEST_MISMATCH, SIZE_MISMATCH, IMAGE_INVALID, BLOB_TOO_LARGE
 */
export async function openArtifact(store: ImageStore, text: string, options: PullOptions = {}): Promise<Artifact> {
  const reference = parseReference(text);
  const report = options.onProgress ?? (() => undefined);
  const session = await openSession(reference, "pull", options.registry ?? {});
  try {
    const { chosen } = await fetchChosen(session, reference, options);
    const manifest = parseManifest(chosen.bytes);
    checkConfigSize(manifest);
    await fetchBlob(session, store, manifest.config, { report, signal: options.signal });
    return {
      manifest,
      config: await store.readBlob(manifest.config.digest),
      fetch: (layer) => fetchBlob(session, store, layer, { report, signal: options.signal }),
      [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
    };
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

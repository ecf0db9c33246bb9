/** A root filesystem's tarball as an image of one layer, like `docker import`. */
import { createHash } from "node:crypto";
import type { DiffId } from "../../support/brands.js";
import { decompress, sniffCompression } from "../compression/decompress.js";
import { layerTypes } from "../media-types.js";
import { hostPlatform } from "../platforms.js";
import { type ImageStore, platformOf } from "../store.js";
import { createTarDecoder, discardTree } from "../tar/decode.js";
import type { Platform, RuntimeConfig, StoredImage } from "../types.js";
import { knownCompression, peek } from "./source.js";

export interface ImportOptions {
  readonly config?: RuntimeConfig | undefined;
  readonly platform?: Platform | undefined;
  /** Shown by history. */
  readonly message?: string | undefined;
  /** RFC 3339; now unless told. */
  readonly created?: string | undefined;
}

/**
 * Stores the tarball as it comes (plain, gzip or zstd) once it has proved to be one, and names the image.
 * @throws AegisError TAR_CORRUPT, TAR_UNSUPPORTED, COMPRESSION_CORRUPT, COMPRESSION_UNSUPPORTED
 */
export async function importRootTar(
  store: ImageStore,
  source: AsyncIterable<Uint8Array>,
  names: readonly string[],
  options: ImportOptions = {},
): Promise<StoredImage> {
  const { head, all } = await peek(source, 8);
  const compression = knownCompression(sniffCompression(head));
  const blob = store.createBlob();
  try {
    async function* kept() {
      for await (const chunk of all) {
        blob.write(chunk);
        await blob.drain();
        yield chunk;
      }
    }
    const tarHash = createHash("sha256");
    const decoder = createTarDecoder(discardTree);
    for await (const chunk of decompress(kept(), compression)) {
      tarHash.update(chunk);
      decoder.write(chunk);
    }
    decoder.end();
    const layer = { mediaType: layerTypes[compression], ...(await blob.commit()) };
    const created = options.created ?? new Date().toISOString();
    const config = {
      created,
      ...platformOf(options.platform ?? hostPlatform()),
      config: options.config ?? {},
      rootfs: { type: "layers", diff_ids: [`sha256:${tarHash.digest("hex")}` as DiffId] },
      history: [{ created, comment: options.message ?? "Imported from -" }],
    } as const;
    return await store.putImage({ config, layers: [layer] }, names);
  } finally {
    await blob.abort();
  }
}

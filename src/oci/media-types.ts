/** Media types of OCI 1.1 and of Docker's schema 2, which mean the same things. */
import { AegisError } from "../support/errors.js";
import type { Descriptor } from "./types.js";

export const mediaTypes = {
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  ociConfig: "application/vnd.oci.image.config.v1+json",
  ociEmpty: "application/vnd.oci.empty.v1+json",
  ociLayer: "application/vnd.oci.image.layer.v1.tar",
  ociLayerGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  ociLayerZstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
  dockerLayer: "application/vnd.docker.image.rootfs.diff.tar",
  dockerLayerGzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
  dockerLayerZstd: "application/vnd.docker.image.rootfs.diff.tar.zstd",
  dockerForeignLayer: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
} as const;

export type Compression = "gzip" | "zstd" | "none";

export const isIndexType = (type: string): boolean => type === mediaTypes.ociIndex || type === mediaTypes.dockerIndex;
export const isManifestType = (type: string): boolean =>
  type === mediaTypes.ociManifest || type === mediaTypes.dockerManifest;

/** Layers that may not be redistributed: their bytes come from `urls`, never from the registry of the image. */
export const isForeignLayerType = (type: string): boolean =>
  type === mediaTypes.dockerForeignLayer || type.startsWith("application/vnd.oci.image.layer.nondistributable.");

/** What an image of containers consists of, as opposed to other artifacts that a registry may hold. */
export const isImageConfigType = (type: string): boolean =>
  type === mediaTypes.ociConfig || type === mediaTypes.dockerConfig;

const suffixes: readonly (readonly [suffix: string, compression: Compression])[] = [
  ["+gzip", "gzip"],
  [".tar.gzip", "gzip"],
  ["+zstd", "zstd"],
  [".tar.zstd", "zstd"],
  [".tar", "none"],
];

/**
 * How a layer of this media type is compressed.
 * @throws AegisError LAYER_TYPE_UNKNOWN
 */
export function layerCompression(mediaType: string): Compression {
  const known = suffixes.find(([suffix]) => mediaType.endsWith(suffix));
  if (known && /^application\/vnd\.(oci\.image\.layer|docker\.image\.rootfs)\./.test(mediaType)) return known[1];
  throw new AegisError("LAYER_TYPE_UNKNOWN", `a layer has the media type ${mediaType}, which is no layer of an image`, {
    hint: "the reference may name another kind of artifact (a chart, a signature...)",
  });
}

export const layerTypes: Readonly<Record<Compression, string>> = {
  gzip: mediaTypes.ociLayerGzip,
  zstd: mediaTypes.ociLayerZstd,
  none: mediaTypes.ociLayer,
};

const dockerLayerTypes: Readonly<Record<Compression, string>> = {
  gzip: mediaTypes.dockerLayerGzip,
  zstd: mediaTypes.dockerLayerZstd,
  none: mediaTypes.dockerLayer,
};

/** A layer under Docker's type for what it is, or under OCI's. Layers of other kinds, foreign ones for example, stay as they are. */
export function withLayerType(descriptor: Descriptor, docker: boolean): Descriptor {
  const [from, to] = docker ? [layerTypes, dockerLayerTypes] : [dockerLayerTypes, layerTypes];
  if (!Object.values(from).includes(descriptor.mediaType)) return descriptor;
  return { ...descriptor, mediaType: to[layerCompression(descriptor.mediaType)] };
}

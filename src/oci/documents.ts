/** Manifests, indexes and configs as they come from registries and archives: checked before anybody relies on their shape. */
import { AegisError } from "../support/errors.js";
import { digestOf, parseDigest } from "./digests.js";
import { isImageConfigType, isIndexType, isManifestType, mediaTypes } from "./media-types.js";
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest } from "./types.js";

/** Distribution spec "Pushing Manifests" asks registries to take at least 4 MiB; none gives more. */
export const maxDocumentSize = 8 << 20;

type Shape = Readonly<Record<string, unknown>>;

const isShape = (value: unknown): value is Shape =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const invalid = (what: string, cause?: unknown): AegisError =>
  new AegisError("IMAGE_INVALID", `the image is malformed: ${what}`, {
    hint: "it does not follow the OCI image specification; make or fetch it again",
    cause,
  });

function parseJson(bytes: Uint8Array, what: string): Shape {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(`its ${what} is not JSON`, error);
  }
  if (!isShape(value)) throw invalid(`its ${what} is not a JSON object`);
  return value;
}

/** @throws AegisError IMAGE_INVALID, BAD_DIGEST */
export function checkDescriptor(value: unknown, where: string): Descriptor {
  if (!isShape(value)) throw invalid(`${where} is not a descriptor`);
  parseDigest(value.digest);
  const { size, mediaType } = value;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) throw invalid(`${where} has no size`);
  if (mediaType !== undefined && typeof mediaType !== "string") throw invalid(`${where} has no media type`);
  for (const key of ["annotations", "platform"] as const) {
    if (value[key] !== undefined && value[key] !== null && !isShape(value[key]))
      throw invalid(`${where} has bad ${key}`);
  }
  if (isShape(value.annotations) && Object.values(value.annotations).some((it) => typeof it !== "string")) {
    throw invalid(`${where} has annotations that are not text`);
  }
  if (value.urls !== undefined && !(Array.isArray(value.urls) && value.urls.every((url) => typeof url === "string"))) {
    throw invalid(`${where} has bad urls`);
  }
  if (isShape(value.platform)) {
    const { os, architecture } = value.platform;
    if (typeof os !== "string" || typeof architecture !== "string") throw invalid(`${where} has a bad platform`);
  }
  return { ...(value as object), mediaType: mediaType ?? "" } as Descriptor;
}

/** @throws AegisError IMAGE_INVALID */
export function parseManifest(bytes: Uint8Array): ImageManifest {
  const value = parseJson(bytes, "manifest");
  if (value.schemaVersion === 1) {
    throw new AegisError("SCHEMA1_UNSUPPORTED", "the image has a manifest of schema 1, which Docker dropped in 2024", {
      hint: "push the image again with a current tool",
    });
  }
  if (value.schemaVersion !== 2) throw invalid("its manifest has no schemaVersion 2");
  if (!Array.isArray(value.layers)) throw invalid("its manifest has no layers");
  return {
    ...value,
    schemaVersion: 2,
    mediaType: typeof value.mediaType === "string" ? value.mediaType : mediaTypes.ociManifest,
    config: checkDescriptor(value.config, "the config"),
    layers: value.layers.map((layer, i) => checkDescriptor(layer, `layer ${i}`)),
  };
}

/** @throws AegisError IMAGE_INVALID */
export function parseIndex(bytes: Uint8Array): ImageIndex {
  const value = parseJson(bytes, "index");
  if (value.schemaVersion !== 2 || !Array.isArray(value.manifests)) throw invalid("its index has no manifests");
  return {
    ...value,
    schemaVersion: 2,
    mediaType: typeof value.mediaType === "string" ? value.mediaType : mediaTypes.ociIndex,
    manifests: value.manifests.map((manifest, i) => checkDescriptor(manifest, `manifest ${i}`)),
  };
}

/** @throws AegisError IMAGE_INVALID, NOT_AN_IMAGE */
export function parseConfig(bytes: Uint8Array, manifest: ImageManifest): ImageConfig {
  if (!isImageConfigType(manifest.config.mediaType)) {
    throw new AegisError(
      "NOT_AN_IMAGE",
      `the reference names an artifact of type ${artifactType(manifest)}, not an image`,
      {
        hint: "it can be kept and copied, but not run or built from",
      },
    );
  }
  const value = parseJson(bytes, "config");
  const { architecture, os, rootfs } = value;
  if (typeof architecture !== "string" || typeof os !== "string") throw invalid("its config names no platform");
  if (!isShape(rootfs) || !Array.isArray(rootfs.diff_ids)) throw invalid("its config has no diff ids");
  for (const id of rootfs.diff_ids) parseDigest(id);
  if (rootfs.diff_ids.length !== manifest.layers.length) {
    throw invalid(`it has ${manifest.layers.length} layers and ${rootfs.diff_ids.length} diff ids`);
  }
  if (value.history !== undefined && value.history !== null && !Array.isArray(value.history)) {
    throw invalid("its history is not a list");
  }
  if (value.config !== undefined && value.config !== null && !isShape(value.config)) throw invalid("its config is bad");
  const { history, config, ...rest } = value;
  return { ...rest, ...(history ? { history } : {}), ...(config ? { config } : {}) } as unknown as ImageConfig;
}

const artifactType = (manifest: ImageManifest): string => manifest.artifactType ?? manifest.config.mediaType;

/** What a document is: by the media type it was announced with, else by its own, else by what it holds. */
export function documentKind(bytes: Uint8Array, mediaType: string | undefined): "index" | "manifest" {
  for (const type of [mediaType ?? "", parseJson(bytes, "manifest").mediaType]) {
    if (typeof type !== "string") continue;
    if (isIndexType(type)) return "index";
    if (isManifestType(type)) return "manifest";
  }
  return Array.isArray(parseJson(bytes, "manifest").manifests) ? "index" : "manifest";
}

/** JSON as it is stored: no white space, keys in the order of the value. */
export function encodeDocument(
  value: object,
  mediaType: string,
): { readonly bytes: Buffer; readonly descriptor: Descriptor } {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } };
}

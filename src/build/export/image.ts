/** Writes an image's documents into the store: a manifest for each platform, and an index where there is more than one manifest. */
import { encodeDocument, parseConfig } from "../../oci/documents.js";
import { mediaTypes } from "../../oci/media-types.js";
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest, Platform } from "../../oci/types.js";
import { AegisError } from "../../support/errors.js";
import type { BuildEnvironment } from "../environment.js";
import type { BuiltStage } from "../stage.js";
import { keyOf } from "../steps/step.js";
import { annotationsOf } from "./annotations.js";
import { type ImageVariant, layersInForm } from "./variant.js";

/** What one platform's build came to. */
export interface PlatformResult {
  readonly platform: Platform;
  readonly stage: BuiltStage;
  readonly config: ImageConfig;
}

export interface WrittenImage {
  /** The manifest, or the index above the manifests; with the annotations of its descriptor. */
  readonly target: Descriptor;
  readonly images: readonly WrittenPlatform[];
}

export interface WrittenPlatform {
  readonly platform: Platform;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
}

/** Documents that vouch for an image, one in-toto statement each. */
export type Attest = (image: WrittenPlatform, layers: readonly Descriptor[]) => readonly Attestation[];

export interface Attestation {
  readonly predicateType: string;
  readonly statement: object;
}

/** Identity of what would be written, when nothing in it depends on the moment. */
export const imageFact = (results: readonly PlatformResult[], variant: ImageVariant, asIndex: boolean): string =>
  keyOf([
    "image",
    asIndex,
    results.map(({ config, stage }) => [JSON.stringify(config), stage.draft.layers.map((it) => it.descriptor.digest)]),
    JSON.stringify(variant),
  ]);

/** @throws AegisError ANNOTATION_NEEDS_INDEX, LAYERS_COLLECTED */
export async function writeImage(
  environment: BuildEnvironment,
  results: readonly PlatformResult[],
  variant: ImageVariant,
  attest?: Attest,
): Promise<WrittenImage> {
  const { annotations, dockerTypes } = variant;
  const images: WrittenPlatform[] = [];
  const attestations: Descriptor[] = [];
  for (const result of results) {
    const { manifest, config, layers } = await writePlatform(environment, result, variant);
    const image = { platform: result.platform, manifest, config };
    images.push(image);
    const statements = attest?.(image, layers) ?? [];
    if (statements.length > 0) attestations.push(await writeAttestation(environment, image, statements));
  }
  if (!environment.request.asIndex && attestations.length === 0) {
    const [{ manifest, platform }] = images as [WrittenPlatform];
    if (annotations.some(({ scope }) => scope.startsWith("index"))) {
      throw new AegisError("ANNOTATION_NEEDS_INDEX", "an image of one platform has no index to annotate", {
        hint: "build for several platforms, or with --provenance=true, or annotate the manifest",
      });
    }
    return { target: described(manifest, annotationsOf(annotations, "manifest-descriptor", platform)), images };
  }
  const own = annotationsOf(annotations, "index");
  const index: ImageIndex = {
    schemaVersion: 2,
    mediaType: dockerTypes ? mediaTypes.dockerIndex : mediaTypes.ociIndex,
    manifests: [
      ...images.map(({ manifest, platform }) => ({
        ...described(manifest, annotationsOf(annotations, "manifest-descriptor", platform)),
        platform: plain(platform),
      })),
      ...attestations,
    ],
    ...(own === undefined ? {} : { annotations: own }),
  };
  const written = await writeDocument(environment, index, index.mediaType);
  return { target: described(written, annotationsOf(annotations, "index-descriptor")), images };
}

async function writePlatform(
  environment: BuildEnvironment,
  { stage, config, platform }: PlatformResult,
  variant: ImageVariant,
) {
  const { draft, roots } = stage;
  await Promise.all(draft.layers.map(({ descriptor }) => environment.layers.ready(descriptor)));
  const layers = await layersInForm(environment, draft.layers, roots.baseLayers, variant);
  const { dockerTypes } = variant;
  const encoded = encodeDocument(config, dockerTypes ? mediaTypes.dockerConfig : mediaTypes.ociConfig);
  const own = annotationsOf(variant.annotations, "manifest", platform);
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: dockerTypes ? mediaTypes.dockerManifest : mediaTypes.ociManifest,
    config: encoded.descriptor,
    layers,
    ...(own === undefined ? {} : { annotations: own }),
  };
  parseConfig(encoded.bytes, manifest);
  await environment.store.writeBlob(encoded.bytes, { mediaType: encoded.descriptor.mediaType });
  return {
    manifest: await writeDocument(environment, manifest, manifest.mediaType),
    config: encoded.descriptor,
    layers,
  };
}

/** As BuildKit attaches them: a manifest beside the image's in the index, of no platform, that names the image it is about. */
async function writeAttestation(
  environment: BuildEnvironment,
  image: WrittenPlatform,
  statements: readonly Attestation[],
): Promise<Descriptor> {
  const layers: Descriptor[] = [];
  for (const { predicateType, statement } of statements) {
    const written = await writeDocument(environment, statement, "application/vnd.in-toto+json");
    layers.push(described(written, { "in-toto.io/predicate-type": predicateType }));
  }
  const unknown: Platform = { architecture: "unknown", os: "unknown" };
  const config = { ...unknown, config: {}, rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) } };
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: await writeDocument(environment, config, mediaTypes.ociConfig),
    layers,
  };
  return {
    ...described(await writeDocument(environment, manifest, mediaTypes.ociManifest), {
      "vnd.docker.reference.digest": image.manifest.digest,
      "vnd.docker.reference.type": "attestation-manifest",
    }),
    platform: unknown,
  };
}

async function writeDocument({ store }: BuildEnvironment, value: object, mediaType: string): Promise<Descriptor> {
  return await store.writeBlob(encodeDocument(value, mediaType).bytes, { mediaType });
}

const described = (descriptor: Descriptor, annotations: Readonly<Record<string, string>> | undefined): Descriptor =>
  annotations === undefined ? descriptor : { ...descriptor, annotations };

/** Without what normalising leaves undefined. */
const plain = ({ architecture, os, variant }: Platform): Platform => ({
  architecture,
  os,
  ...(variant === undefined ? {} : { variant }),
});

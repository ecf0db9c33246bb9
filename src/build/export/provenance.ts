/** Provenance as SLSA 0.2 in an in-toto statement, shaped as BuildKit shapes it. What tells secrets may be only in `max`. */
import { randomBytes } from "node:crypto";
import { formatPlatform, hostPlatform } from "../../oci/platforms.js";
import { familiarRepository, parseReference } from "../../oci/references.js";
import type { Descriptor, Platform } from "../../oci/types.js";
import type { Digest } from "../../support/brands.js";
import type { BuildRequest } from "../types.js";
import type { Attest, WrittenPlatform } from "./image.js";

export type ProvenanceMode = "min" | "max";

/** An image that the build started from. */
export interface Material {
  readonly reference: string;
  readonly platform: Platform;
  readonly digest: Digest;
}

export interface ProvenanceFacts {
  readonly mode: ProvenanceMode;
  readonly request: BuildRequest;
  /** As messages call the Dockerfile. */
  readonly dockerfile: { readonly name: string; readonly content: Uint8Array };
  readonly materials: readonly Material[];
  readonly started: Date;
}

const predicateType = "https://slsa.dev/provenance/v0.2";
const ourMetadata = "https://mobyproject.org/buildkit@v1#metadata";

/** Statements about the images of one build, each naming them as `names` do. */
export function provenance(facts: ProvenanceFacts, names: readonly string[]): Attest {
  const invocation = randomBytes(16).toString("hex");
  const finished = new Date();
  return (image, layers) => [
    {
      predicateType,
      statement: {
        _type: "https://in-toto.io/Statement/v0.1",
        predicateType,
        subject: names.map((name) => ({
          name: packageUrl(name, image.platform),
          digest: { sha256: hexOf(image.manifest.digest) },
        })),
        predicate: predicate(facts, { image, layers, invocation, finished }),
      },
    },
  ];
}

interface Moment {
  readonly image: WrittenPlatform;
  readonly layers: readonly Descriptor[];
  readonly invocation: string;
  readonly finished: Date;
}

function predicate(facts: ProvenanceFacts, at: Moment): object {
  const { mode, dockerfile, started } = facts;
  const max = {
    source: {
      infos: [
        { filename: dockerfile.name, language: "Dockerfile", data: Buffer.from(dockerfile.content).toString("base64") },
      ],
    },
    layers: { result: [at.layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }))] },
  };
  return {
    ...provenanceSummary(facts),
    metadata: {
      buildInvocationID: at.invocation,
      buildStartedOn: started.toISOString(),
      buildFinishedOn: at.finished.toISOString(),
      completeness: { parameters: mode === "max", environment: true, materials: false },
      reproducible: false,
      [ourMetadata]: mode === "max" ? max : {},
    },
  };
}

/** The part that says from what and how, without the moment. */
export function provenanceSummary(facts: ProvenanceFacts): object {
  const { dockerfile, materials } = facts;
  const args = argsOf(facts);
  return {
    builder: { id: "" },
    buildType: "https://mobyproject.org/buildkit@v1",
    ...(materials.length === 0 ? {} : { materials: materials.map(materialOf) }),
    invocation: {
      configSource: { entryPoint: dockerfile.name },
      parameters: {
        frontend: "dockerfile.v0",
        ...(Object.keys(args).length === 0 ? {} : { args }),
        locals: [{ name: "context" }, { name: "dockerfile" }],
      },
      environment: { platform: formatPlatform(hostPlatform()) },
    },
  };
}

/** Names as the reference's frontend calls them. */
function argsOf({ mode, request }: ProvenanceFacts): Readonly<Record<string, string>> {
  const args: Record<string, string> = {};
  if (mode === "max") {
    for (const [name, value] of Object.entries(request.buildArgs)) args[`build-arg:${name}`] = value;
    for (const [name, value] of Object.entries(request.labels)) args[`label:${name}`] = value;
  }
  if (request.network !== "default") args["force-network-mode"] = request.network;
  if (request.noCache) args["no-cache"] = "";
  else if (request.noCacheStages.length > 0) args["no-cache"] = request.noCacheStages.join(",");
  if (request.target !== undefined) args.target = request.target;
  return Object.fromEntries(Object.entries(args).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const materialOf = ({ reference, platform, digest }: Material) => ({
  uri: packageUrl(reference, platform),
  digest: { sha256: hexOf(digest) },
});

/** `pkg:docker/NAME@TAG?platform=...`, as package URLs name images. */
function packageUrl(name: string, platform: Platform): string {
  const reference = parseReference(name);
  const version = reference.digest ?? reference.tag ?? "latest";
  return `pkg:docker/${familiarRepository(reference)}@${version}?platform=${encodeURIComponent(formatPlatform(platform))}`;
}

const hexOf = (digest: Digest): string => digest.slice("sha256:".length);

/** `--annotation` and an output's `annotation.*`: which document carries them, and of which platform. */
import { formatPlatform, parsePlatform } from "../../oci/platforms.js";
import type { Platform } from "../../oci/types.js";
import { AegisError } from "../../support/errors.js";

const scopes = ["manifest", "index", "manifest-descriptor", "index-descriptor"] as const;
type AnnotationScope = (typeof scopes)[number];

export interface Annotation {
  readonly scope: AnnotationScope;
  /** `os/architecture`; all platforms when undefined. */
  readonly platform?: string | undefined;
  readonly key: string;
  readonly value: string;
}

/** Reads `[scope[platform],scope:]key=value`. @throws AegisError USAGE, BAD_PLATFORM */
export function parseAnnotation(word: string): readonly Annotation[] {
  const equals = word.indexOf("=");
  if (equals <= 0) throw usage(`--annotation "${word}" has no value`, "write it as --annotation key=value");
  const value = word.slice(equals + 1);
  const name = word.slice(0, equals);
  const colon = name.indexOf(":");
  if (colon < 0) return [{ scope: "manifest", key: name, value }];
  return name
    .slice(0, colon)
    .split(",")
    .map((place) => ({ ...parsePlace(place, word), key: name.slice(colon + 1), value }));
}

/** Reads the name of an output's field, `annotation[-scope][[platform]].KEY`; undefined when it is another field. */
export function annotationField(field: string, value: string): Annotation | undefined {
  const match = /^annotation(?:-([a-z-]+))?(\[[^\]]*\])?\.(.+)$/.exec(field);
  if (!match) return undefined;
  return { ...parsePlace(`${match[1] ?? "manifest"}${match[2] ?? ""}`, field), key: match[3]!, value };
}

function parsePlace(place: string, word: string): Pick<Annotation, "scope" | "platform"> {
  const match = /^([a-z-]+)(?:\[([^\]]+)\])?$/.exec(place);
  const scope = scopes.find((it) => it === match?.[1]);
  if (scope === undefined) {
    throw usage(
      `the annotation "${word}" names "${place}", which nothing is called`,
      `choose among ${scopes.join(", ")}`,
    );
  }
  return { scope, ...(match![2] === undefined ? {} : { platform: formatPlatform(parsePlatform(match![2])) }) };
}

/** Those for one document, keys in order as Go writes maps; undefined when there are none. */
export function annotationsOf(
  all: readonly Annotation[],
  scope: AnnotationScope,
  platform?: Platform,
): Readonly<Record<string, string>> | undefined {
  const wanted = platform && formatPlatform(platform);
  const found = all.filter((it) => it.scope === scope && (it.platform === undefined || it.platform === wanted));
  if (found.length === 0) return undefined;
  const byKey = new Map(found.map(({ key, value }) => [key, value]));
  return Object.fromEntries([...byKey].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const usage = (message: string, hint: string) => new AegisError("USAGE", message, { hint });

/**
 * `index.json` and `oci-layout` of the store. OCI image spec, image-layout.md. Each name has an entry of its own, so that one
 * entry can be replaced without touching another; an image without a name has one entry without annotations.
 */
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { AegisError, hasErrno } from "../../support/errors.js";
import { replaceFile } from "../../support/files.js";
import { withLock } from "../../support/locks.js";
import { parseIndex } from "../documents.js";
import { mediaTypes } from "../media-types.js";
import type { Descriptor } from "../types.js";

/** The complete name; what containerd and Docker write and read. */
export const nameAnnotation = "io.containerd.image.name";
/** The name by which skopeo and others pick an image of a layout. */
export const refNameAnnotation = "org.opencontainers.image.ref.name";

/** One line of index.json. */
export interface LayoutEntry {
  readonly target: Descriptor;
  readonly name?: string | undefined;
}

/** Creates what a layout must have, unless it is there. */
export async function initialiseLayout(root: string): Promise<void> {
  await mkdir(path.join(root, "blobs", "sha256"), { recursive: true, mode: 0o700 });
  try {
    const marker: unknown = JSON.parse(await readFile(path.join(root, "oci-layout"), "utf8"));
    const version = (marker as { imageLayoutVersion?: unknown } | null)?.imageLayoutVersion;
    if (typeof version !== "string" || !version.startsWith("1.")) throw notALayout(root, undefined);
  } catch (error) {
    if (error instanceof SyntaxError) throw notALayout(root, error);
    if (!hasErrno(error, "ENOENT")) throw error;
    await replaceFile(path.join(root, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }), { mode: 0o644 });
  }
}

const notALayout = (root: string, cause: unknown) =>
  new AegisError("LAYOUT_INVALID", `${root} is not an OCI image layout of version 1`, {
    hint: "move it away, or name another directory",
    cause,
  });

export async function readLayout(root: string): Promise<readonly LayoutEntry[]> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path.join(root, "index.json"));
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return [];
    throw error;
  }
  return parseIndex(bytes).manifests.map(entryOf);
}

function entryOf(descriptor: Descriptor): LayoutEntry {
  const { annotations, ...bare } = descriptor;
  const name = annotations?.[nameAnnotation] ?? annotations?.[refNameAnnotation];
  const { [nameAnnotation]: _full, [refNameAnnotation]: _short, ...others } = annotations ?? {};
  const target = Object.keys(others).length > 0 ? { ...bare, annotations: others } : bare;
  return name === undefined ? { target } : { target, name };
}

/** Reads, changes and replaces index.json while no other process does. Returning undefined leaves it as it is. */
export async function updateLayout(
  root: string,
  change: (entries: readonly LayoutEntry[]) => readonly LayoutEntry[] | undefined,
  refName?: (name: string) => string,
): Promise<void> {
  await withLock(path.join(root, ".lock"), async () => {
    const changed = change(await readLayout(root));
    if (changed) await replaceFile(path.join(root, "index.json"), encodeLayout(changed, refName), { mode: 0o644 });
  });
}

export function encodeLayout(
  entries: readonly LayoutEntry[],
  refName: (name: string) => string = (name) => name,
): string {
  const manifests = entries.map(({ target, name }) =>
    name === undefined
      ? target
      : {
          ...target,
          annotations: { ...target.annotations, [nameAnnotation]: name, [refNameAnnotation]: refName(name) },
        },
  );
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests });
}

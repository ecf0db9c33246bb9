/** Reads an image in an OCI layout into the form that is recorded and compared. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import tar from "tar-stream";
import { baseImage, type ConformanceCase, contextTime, hasFixedTimes, type Recorded, timeSpread } from "./case.js";

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly platform?: { readonly architecture: string };
}

export interface ReadImage {
  readonly config: Readonly<Record<string, unknown>>;
  readonly history: Extract<Recorded, { history: unknown }>["history"];
  readonly layers: number;
  /** One line an entry, by path. */
  readonly tree: ReadonlyMap<string, string>;
}

/** The image that `reference` (an annotation of index.json) or the only entry of the index names. */
export async function readImage(layout: string, descriptor?: { readonly digest: string }): Promise<ReadImage> {
  const blob = (digest: string): Promise<Buffer> => readFile(path.join(layout, "blobs", digest.replace(":", "/")));
  const json = async (digest: string) => JSON.parse((await blob(digest)).toString());
  let top =
    descriptor ?? (JSON.parse(await readFile(path.join(layout, "index.json"), "utf8")).manifests[0] as Descriptor);
  let manifest = await json(top.digest);
  while (manifest.manifests !== undefined) {
    top = manifest.manifests.find((m: Descriptor) => m.platform?.architecture !== "unknown");
    manifest = await json(top.digest);
  }
  const image = await json(manifest.config.digest);
  const entries = new Map<string, string>();
  for (const layer of (manifest.layers ?? []) as readonly Descriptor[]) {
    const bytes = await blob(layer.digest);
    await applyLayer(entries, bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes);
  }
  // In the order in which they are written down.
  const fields = Object.entries(image).filter(([key]) => !["rootfs", "history"].includes(key));
  return {
    config: Object.fromEntries(fields),
    history: image.history ?? [],
    layers: manifest.layers?.length ?? 0,
    tree: withFirstNames(entries),
  };
}

/** Of the names of one file the first is the file and the others link to it, whichever a layer wrote down as what. */
function withFirstNames(entries: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const result = new Map(entries);
  const groups = new Map<string, string[]>();
  for (const [name, line] of entries) {
    const target = /^link .* -> (.*)$/s.exec(line)?.[1]?.replace(/^\/+/, "");
    if (target !== undefined) groups.set(target, [...(groups.get(target) ?? [target]), name]);
  }
  for (const [target, names] of groups) {
    const file = entries.get(target);
    const [first, ...others] = names.sort();
    if (file === undefined) continue;
    result.set(first!, file);
    for (const name of others)
      result.set(name, `${file.replace(/^file/, "link").replace(/("|\d+ bytes).*/s, "")}-> ${first}`);
  }
  return result;
}

/** Entries as lines: path, type, mode, owner, what it is, and the time when it is the context's. */
async function applyLayer(entries: Map<string, string>, bytes: Buffer): Promise<void> {
  const extract = tar.extract();
  extract.end(bytes);
  const removed: string[] = [];
  const added = new Map<string, string>();
  for await (const entry of extract) {
    const { header } = entry;
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const name = header.name.replace(/^(\.?\/)+/, "").replace(/\/$/, "");
    if (name === "" || name === ".") continue;
    const base = path.posix.basename(name);
    if (base === ".wh..wh..opq") removed.push(`${path.posix.dirname(name)}/*`);
    else if (base.startsWith(".wh.")) removed.push(path.posix.join(path.posix.dirname(name), base.slice(4)));
    else added.set(name, describe(header, Buffer.concat(chunks)));
  }
  for (const name of removed) {
    const prefix = name.endsWith("/*") ? name.slice(0, -1) : `${name}/`;
    for (const known of [...entries.keys()]) if (known === name || known.startsWith(prefix)) entries.delete(known);
  }
  for (const [name, line] of added) {
    if (!line.startsWith("directory"))
      for (const known of [...entries.keys()]) if (known.startsWith(`${name}/`)) entries.delete(known);
    entries.set(name, line);
  }
}

function describe(header: tar.Header, content: Buffer): string {
  const pax = (header.pax ?? {}) as Readonly<Record<string, string>>;
  const uid = Number(pax.uid ?? header.uid);
  const gid = Number(pax.gid ?? header.gid);
  const seconds =
    pax.mtime === undefined ? Math.floor((header.mtime?.getTime() ?? 0) / 1000) : Math.floor(Number(pax.mtime));
  const mode = (header.mode ?? 0).toString(8).padStart(4, "0");
  const time =
    seconds >= contextTime && seconds < contextTime + timeSpread
      ? "kept"
      : Math.abs(seconds * 1000 - Date.now()) < 86_400_000
        ? "now"
        : String(seconds);
  const fields: (string | undefined)[] = [String(header.type), mode, `${uid}:${gid}`, time];
  if (header.type === "file") fields.push(shown(content));
  if (header.type === "symlink" || header.type === "link") fields.push(`-> ${header.linkname}`);
  if (header.devmajor || header.devminor) fields.push(`${header.devmajor},${header.devminor}`);
  for (const key of Object.keys(pax).sort())
    if (key.startsWith("SCHILY.xattr.")) fields.push(`${key.slice(13)}=${shownValue(pax[key]!)}`);
  return fields.join(" ");
}

const shownValue = (value: string): string =>
  /^[\x20-\x7e]*$/.test(value) ? JSON.stringify(value) : `0x${Buffer.from(value).toString("hex")}`;

/** Short texts as they are, so that a recording can be read. */
function shown(content: Buffer): string {
  const text = content.toString("utf8");
  if (content.length <= 200 && Buffer.from(text).equals(content)) return JSON.stringify(text);
  return `${content.length} bytes ${createHash("sha256").update(content).digest("hex").slice(0, 12)}`;
}

/** What a case records: the tree without what the base image already has. */
export function recordedOf(image: ReadImage, item: ConformanceCase, baseOfCases: ReadImage | undefined): Recorded {
  const base = item.dockerfile.includes(baseImage) ? baseOfCases : undefined;
  // Whether a directory of the context keeps its time is a matter of luck in the reference.
  const copies =
    /^\s*(onbuild\s+)?(copy|add)\s/im.test(item.dockerfile) || item.flags?.includes("--build-context") === true;
  // And in /etc it makes mount points and removes them again.
  const shown = (name: string, line: string) =>
    copies || name === "etc" ? line.replace(/^(directory \S+ \S+) \S+/, "$1 -") : line;
  const gone = [...(base?.tree.keys() ?? [])].filter((name) => !image.tree.has(name)).map((name) => `- ${name}`);
  const lines = [...image.tree]
    .filter(([name, line]) => {
      const before = base?.tree.get(name);
      return before !== line && !(name === "etc" && before && shown(name, before) === shown(name, line));
    })
    .map(([name, line]) => `${name} ${shown(name, line)}`);
  const timed = hasFixedTimes(item);
  const untimed = <T extends object>(it: T): T =>
    Object.fromEntries(Object.entries(it).filter(([key]) => timed || key !== "created")) as T;
  return {
    config: untimed(image.config),
    history: image.history.slice(base?.history.length ?? 0).map(untimed),
    layers: image.layers - (base?.layers ?? 0),
    tree: [...gone.sort(), ...lines.sort()],
  };
}

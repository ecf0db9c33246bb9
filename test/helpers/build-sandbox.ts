/** A home and a context of their own for tests that build, and a way to see what came out. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { buildImage } from "../../src/build/build.js";
import { type BuildFlags, buildRequest } from "../../src/build/request.js";
import type { BuildEvent, BuildResult } from "../../src/build/types.js";
import { readLayer } from "../../src/oci/layers.js";
import { openImageStore } from "../../src/oci/store.js";
import { decodeText } from "../../src/support/brands.js";
import { type AegisHome, openHome } from "../../src/support/home.js";
import type { TreeEntry } from "../../src/support/tree.js";

export interface Built extends BuildResult {
  readonly events: readonly BuildEvent[];
  /** Titles of the steps that ran, and of those that came from the cache. */
  readonly ran: readonly string[];
  readonly cached: readonly string[];
  readonly output: string;
}

export class BuildSandbox implements Disposable {
  readonly root = mkdtempSync(path.join(tmpdir(), "aegis-build-"));
  readonly context = path.join(this.root, "context");
  readonly home: AegisHome;
  /** What outputs wrote to standard output. */
  readonly sent: Buffer[] = [];

  constructor() {
    this.home = openHome({ AEGIS_HOME: path.join(this.root, "home"), HOME: this.root });
    mkdirSync(this.context);
  }

  /** Writes files of the context; a path ending in a slash is a directory. */
  write(files: Readonly<Record<string, string | Uint8Array>>): this {
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(this.context, name);
      mkdirSync(name.endsWith("/") ? file : path.dirname(file), { recursive: true });
      if (!name.endsWith("/")) writeFileSync(file, content);
    }
    return this;
  }

  async build(dockerfile: string, flags: Partial<BuildFlags> = {}, env: NodeJS.ProcessEnv = {}): Promise<Built> {
    this.write({ Dockerfile: dockerfile });
    const { request } = buildRequest({ ...noFlags, path: this.context, ...flags }, env, {
      stdout: async (chunk) => void this.sent.push(Buffer.from(chunk)),
    });
    const events: BuildEvent[] = [];
    const result = await buildImage(this.home, request, (event) => {
      events.push(event.type === "output" ? { ...event, chunk: Uint8Array.from(event.chunk) } : event);
    });
    const titles = new Map(events.flatMap((it) => (it.type === "started" ? [[it.step, it.title] as const] : [])));
    const finished = (cached: boolean) =>
      events.flatMap((it) => (it.type === "finished" && it.cached === cached ? [titles.get(it.step)!] : []));
    const output = events.flatMap((it) => (it.type === "output" ? [Buffer.from(it.chunk).toString()] : [])).join("");
    const isStep = (title: string) => /^\[.*\d+\/\d+\] (?!FROM )/.test(title);
    return { ...result, events, ran: finished(false).filter(isStep), cached: finished(true).filter(isStep), output };
  }

  /** Entries of one layer of an image, as `mode uid:gid path -> target`; directories end in a slash. */
  async layer(built: BuildResult, index: number): Promise<readonly string[]> {
    const store = await openImageStore(this.home.images);
    try {
      const image = await store.resolve(built.imageId);
      const descriptor = image!.manifest.layers.at(index)!;
      const lines: string[] = [];
      await readLayer(store, descriptor, {
        entry: (entry) => void lines.push(describeEntry(entry)),
        data: () => undefined,
        hole: () => undefined,
        drain: () => undefined,
      });
      return lines;
    } finally {
      await store.close();
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
    rmSync(this.home.sockets, { recursive: true, force: true });
  }
}

export function describeEntry(entry: TreeEntry): string {
  const name = `${decodeText(entry.path)}${entry.type === "directory" ? "/" : ""}`;
  const target =
    entry.linkTarget === undefined ? "" : ` ${entry.type === "hardlink" ? "=" : "->"} ${decodeText(entry.linkTarget)}`;
  return `${entry.mode.toString(8)} ${entry.uid}:${entry.gid} ${name}${target}`;
}

export const noFlags: BuildFlags = {
  path: ".",
  file: undefined,
  tags: [],
  buildArgs: [],
  labels: [],
  target: undefined,
  buildContexts: [],
  annotations: [],
  noCacheFilter: [],
  platforms: [],
  provenance: undefined,
  sbom: undefined,
  attest: [],
  pull: false,
  noCache: false,
  network: undefined,
  addHost: [],
  shmSize: undefined,
  allow: [],
  ulimits: [],
  memory: undefined,
  secrets: [],
  ssh: [],
  isolation: undefined,
  progress: undefined,
  cacheFrom: [],
  cacheTo: [],
  output: [],
  push: false,
  load: false,
};

import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { BuildFlags } from "../../../src/build/request.js";
import { digestOf, hexOf } from "../../../src/oci/digests.js";
import type { Digest } from "../../../src/support/brands.js";
import { eventually } from "../../helpers/aegis-cli.js";
import { BuildSandbox, type Built } from "../../helpers/build-sandbox.js";
import { writeBusybox } from "../../helpers/busybox-tree.js";
import { type FaultProxy, startFaultProxy } from "../oci/fault-proxy.js";
import { skopeo } from "../oci/fixtures.js";
import { type RegistryServer, startRegistry } from "../oci/registry-server.js";

/** Caches that travel, between homes that share nothing, through Debian's docker-registry and through directories. */

let registry: RegistryServer;
let proxy: FaultProxy;
beforeAll(async () => {
  registry = await startRegistry();
  proxy = await startFaultProxy(registry.host);
  using maker = new BuildSandbox();
  writeBusybox(path.join(maker.context, "root"));
  await maker.build("FROM scratch\nCOPY root /\n", { tags: [`${registry.host}/base:1`], push: true });
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

/** Two machines. */
let one: BuildSandbox;
let two: BuildSandbox;
let number = 0;
beforeEach(() => {
  one = new BuildSandbox();
  two = new BuildSandbox();
  for (const sandbox of [one, two]) sandbox.write({ "src/a": "a", "src/b": "b" });
  number++;
  proxy.seen.length = 0;
  proxy.decide = () => ({ kind: "pass" });
});
afterEach(() => {
  one[Symbol.dispose]();
  two[Symbol.dispose]();
});

/** Two stages; no two runs of the first one's RUN give the same layer. */
const dockerfile = () => `FROM ${proxy.host}/base:1 AS build
COPY src /src
RUN cat /src/* /proc/sys/kernel/random/uuid >/out
FROM ${proxy.host}/base:1
COPY src/a /a
COPY --from=build /out /out
RUN cat /out /a >/both
`;
const ref = () => `${proxy.host}/cache:${number}`;
const build = (sandbox: BuildSandbox, flags: Partial<BuildFlags>, text = dockerfile()) =>
  sandbox.build(text, { isolation: "container", ...flags });
const layersOf = (built: Built) => built.config.rootfs.diff_ids;
const warnings = (built: Built) => built.events.flatMap((it) => (it.type === "warning" ? [it.text] : []));
const blobFetches = () => proxy.seen.filter((it) => it.method === "GET" && it.path.includes("/cache/blobs/"));
const tidy = ({ home }: BuildSandbox) => expect(readdirSync(home.tmp)).toEqual([]);

describe("a cache from another machine makes an unchanged build do nothing", () => {
  test.each(["min", "max"])("from a registry, mode=%s", async (mode) => {
    const first = await build(one, { cacheTo: [`type=registry,ref=${ref()},mode=${mode}`] });
    const second = await build(two, { cacheFrom: [`type=registry,ref=${ref()}`] });
    expect(second.ran).toEqual([]);
    expect(second.cached).toHaveLength(5);
    expect(layersOf(second)).toEqual(layersOf(first));
    // The result's own layers came, those of the other stage stayed where they are; and it is now known here.
    expect(new Set(blobFetches().map((it) => it.path)).size).toBe(1 + 3);
    const again = await build(two, { cacheFrom: [ref()] });
    expect(again.imageId).toBe(second.imageId);
    tidy(two);
  });

  test("from a directory, which skopeo copies and which does not grow", async () => {
    const directory = path.join(one.root, "cache");
    const first = await build(one, { cacheTo: [`type=local,dest=${directory},mode=max`] });
    const blobs = () => readdirSync(path.join(directory, "blobs/sha256")).length;
    const before = blobs();
    await build(one, { cacheTo: [`type=local,dest=${directory},mode=max`], noCache: true });
    expect(blobs()).toBe(before);
    await build(one, { cacheTo: [`type=local,dest=${directory},mode=max`] });
    const copy = path.join(one.root, "copy");
    await skopeo("copy", `oci:${directory}:latest`, `oci:${copy}:latest`);
    await skopeo("copy", `oci:${copy}:latest`, `docker://${ref()}`);
    for (const source of [`type=local,src=${copy}`, ref()]) {
      using fresh = new BuildSandbox();
      fresh.write({ "src/a": "a", "src/b": "b" });
      const built = await build(fresh, { cacheFrom: [source] });
      expect(built.ran).toEqual([]);
      expect(layersOf(built)).not.toEqual(layersOf(first));
    }
  });

  test("from the image itself, pushed with its cache inside", async () => {
    const name = `${proxy.host}/app:${number}`;
    const first = await build(one, { tags: [name], push: true, cacheTo: ["type=inline"] });
    const second = await build(two, { cacheFrom: [name], cacheTo: ["type=inline"] });
    expect(second.ran).toEqual([]);
    expect(second.imageId).toBe(first.imageId);
    const without = await build(two, {});
    expect(without.imageId).not.toBe(first.imageId);
    expect(JSON.parse(await skopeo("inspect", "--config", `docker://${name}`))).toMatchObject({ os: "linux" });
  });
});

test("a base image becomes a disk while its last layer is still on its way", async () => {
  await build(one, { tags: [`${registry.host}/layered:1`], push: true });
  const image = JSON.parse(await skopeo("inspect", "--raw", `docker://${registry.host}/layered:1`));
  let release = () => {};
  const until = new Promise<void>((resolve) => {
    release = resolve;
  });
  const last = image.layers.at(-1).digest;
  proxy.decide = ({ path: at }) => (at.endsWith(last) ? { kind: "hold", until } : { kind: "pass" });
  const building = build(two, {}, `FROM ${proxy.host}/layered:1\nRUN cat /both >/again\n`);
  // The disk that is being written holds the first layers' files long before the last one may come.
  await eventually(async () => {
    const name = readdirSync(two.home.disks).find((it) => it.startsWith(".tmp-"));
    return name !== undefined && statSync(path.join(two.home.disks, name)).blocks > 1000 ? name : undefined;
  });
  expect(proxy.count("GET", last)).toBe(1);
  release();
  const built = await building;
  expect(built.ran).toHaveLength(1);
  expect(built.events).toContainEqual(expect.objectContaining({ title: `pulling ${proxy.host}/layered:1` }));
});

describe("a step that the cache does not have", () => {
  const changed = () => `${dockerfile()}COPY --from=build /src/b /out /more/\n`;

  test("takes the layers of other stages from a cache of mode=max", async () => {
    await build(one, { cacheTo: [`type=registry,mode=max,ref=${ref()}`] });
    const built = await build(two, { cacheFrom: [ref()] }, changed());
    expect(built.ran.map((title) => title.slice(title.indexOf("]") + 2))).toEqual([
      "COPY --from=build /src/b /out /more/",
    ]);
    expect(warnings(built)).toEqual([]);
  });

  test("has the other stage done again where mode=min kept its layers out, and mixes nothing", async () => {
    const first = await build(one, { cacheTo: [`type=registry,mode=min,ref=${ref()}`] });
    const built = await build(
      two,
      { cacheFrom: [ref()], output: [`type=local,dest=${path.join(two.root, "out")}`] },
      changed(),
    );
    expect(built.ran.some((title) => title.includes("RUN cat /src"))).toBe(true);
    expect(warnings(built)).toEqual([expect.stringContaining("has a layer's digest but not the layer")]);
    const at = (name: string) => readFileSync(path.join(two.root, "out", name), "utf8");
    expect(at("more/out")).toBe(at("out"));
    expect(at("both")).toBe(`${at("out")}a`);
    expect(layersOf(built)).not.toEqual(expect.arrayContaining(layersOf(first).slice(-2)));
    tidy(two);
  });

  test("is exported with what was found, without fetching what the registry has", async () => {
    await build(one, { cacheTo: [`type=registry,mode=max,ref=${ref()}`] });
    const built = await build(two, { cacheFrom: [ref()], cacheTo: [`type=registry,mode=max,ref=${ref()}`] });
    expect(built.ran).toEqual([]);
    expect(new Set(blobFetches().map((it) => it.path)).size).toBe(1 + 3);
    using three = new BuildSandbox();
    three.write({ "src/a": "a", "src/b": "b" });
    expect((await build(three, { cacheFrom: [ref()] }, changed())).ran).toHaveLength(1);
  });
});

describe("a cache that can't be had", () => {
  test("is a warning: nobody listening, no such name, an image without one, a directory without one", async () => {
    const cacheFrom = ["127.0.0.1:1/cache:1", ref(), `${registry.host}/base:1`, `type=local,src=${one.root}`];
    const built = await build(two, { cacheFrom });
    expect(built.cached).toEqual([]);
    expect(warnings(built).map((text) => /^the cache (\S+) is not used: /.exec(text)?.[1])).toEqual(
      expect.arrayContaining(["127.0.0.1:1/cache:1", ref(), `${registry.host}/base:1`, one.root]),
    );
  });

  test("fails the build when it was to be written, unless that is to be ignored", async () => {
    proxy.decide = ({ method }) => (method === "POST" ? { kind: "status", status: 403 } : { kind: "pass" });
    await expect(build(one, { cacheTo: [`type=registry,ref=${ref()}`] })).rejects.toMatchObject({
      code: "REGISTRY_DENIED",
    });
    const built = await build(one, { cacheTo: [`type=registry,ref=${ref()},ignore-error=true`] });
    expect(warnings(built)).toEqual([expect.stringContaining(`the cache was not exported to ${ref()}`)]);
  });
});

describe("a cache that lies", () => {
  let directory: string;
  let blobs: string;
  let honest: Built;
  const maker = new BuildSandbox();
  beforeAll(async () => {
    maker.write({ "src/a": "a", "src/b": "b" });
    honest = await build(maker, { cacheTo: [`type=local,dest=${maker.root}/cache,mode=max`] });
  });
  afterAll(() => maker[Symbol.dispose]());
  beforeEach(() => {
    directory = path.join(one.root, "cache");
    blobs = path.join(directory, "blobs/sha256");
    cpSync(path.join(maker.root, "cache"), directory, { recursive: true });
  });

  type Document = { [key: string]: unknown };
  interface CacheDocument extends Document {
    layers: { blob: string; annotations: { diffID: string } }[];
  }

  /** Replaces the cache's config, honestly addressed. */
  function rewrite(change: (config: CacheDocument) => unknown): void {
    const put = (value: unknown) => {
      const bytes = Buffer.from(JSON.stringify(value));
      const digest = digestOf(bytes);
      writeFileSync(path.join(blobs, hexOf(digest)), bytes);
      return { digest, size: bytes.length };
    };
    const read = (digest: Digest) => JSON.parse(readFileSync(path.join(blobs, hexOf(digest)), "utf8"));
    const index = JSON.parse(readFileSync(path.join(directory, "index.json"), "utf8"));
    const manifest = read(index.manifests[0].digest);
    const config = put(change(read(manifest.config.digest)));
    Object.assign(index.manifests[0], put({ ...manifest, config: { ...manifest.config, ...config } }));
    writeFileSync(path.join(directory, "index.json"), JSON.stringify(index));
  }

  const lies: readonly (readonly [what: string, tell: () => void])[] = [
    [
      "with other bytes under a digest",
      () => {
        for (const { digest } of JSON.parse(readFileSync(manifestFile(), "utf8")).layers) {
          writeFileSync(path.join(blobs, hexOf(digest)), "something else");
        }
      },
    ],
    [
      "about what a layer holds",
      () =>
        rewrite((config) => {
          for (const { annotations } of config.layers) annotations.diffID = `sha256:${"0".repeat(64)}`;
          return config;
        }),
    ],
    ["with layers that it lost", () => rmLayers()],
    [
      "with digests that are paths",
      () => rewrite((config) => ({ ...config, layers: [{ blob: "sha256:../../../etc/passwd" }] })),
    ],
    ["with a document that is none", () => rewrite(() => [])],
    ["with records that lead nowhere", () => rewrite((config) => ({ ...config, layers: [] }))],
  ];

  const manifestFile = () =>
    path.join(blobs, hexOf(JSON.parse(readFileSync(path.join(directory, "index.json"), "utf8")).manifests[0].digest));
  const rmLayers = () => {
    for (const { digest } of JSON.parse(readFileSync(manifestFile(), "utf8")).layers) {
      rmSync(path.join(blobs, hexOf(digest)));
    }
  };

  test.each(lies)("%s is found out, and the steps are done here", async (_what, tell) => {
    tell();
    const built = await build(two, { cacheFrom: [`type=local,src=${directory}`] });
    expect(built.ran.some((title) => title.includes("RUN cat /out"))).toBe(true);
    expect(layersOf(built)).not.toEqual(layersOf(honest));
    tidy(two);
    // Nothing of it is remembered, and layers that are here by now don't make it any truer.
    expect((await build(two, { cacheFrom: [`type=local,src=${directory}`] })).imageId).toBe(built.imageId);
    expect((await build(two, {})).imageId).toBe(built.imageId);
  });
});

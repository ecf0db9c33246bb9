import { readdir } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TransferEvent } from "../../../src/oci/registry/progress.js";
import { pullImage } from "../../../src/oci/registry/pull.js";
import { pushImage } from "../../../src/oci/registry/push.js";
import { openImageStore } from "../../../src/oci/store.js";
import { type Fault, type FaultProxy, startFaultProxy } from "./fault-proxy.js";
import { makeImage, published, quick, skopeo, temporaryStore } from "./fixtures.js";
import { type RegistryServer, startRegistry } from "./registry-server.js";

let registry: RegistryServer;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
});

const digestsIn = async (root: string) => (await readdir(path.join(root, "blobs/sha256"))).sort();

describe("with a registry that misbehaves", () => {
  const isBlob = (path: string) => /\/blobs\/sha256:/.test(path);

  async function misbehaving(name: string, body: (proxy: FaultProxy, full: string, size: number) => Promise<void>) {
    const size = 600_000;
    await published(registry, name, { size });
    await using proxy = await startFaultProxy(registry.host);
    await body(proxy, `${proxy.host}/${name}`, size);
  }

  /** Faults for the first requests of a kind; later ones pass. */
  const firstBlobs = (times: number, fault: Fault) => {
    let left = times;
    return (request: { readonly method: string; readonly path: string }): Fault =>
      request.method === "GET" && isBlob(request.path) && left-- > 0 ? fault : { kind: "pass" };
  };

  test("a blob that is cut again and again is resumed where it stopped", async () => {
    await misbehaving("cut:1", async (proxy, name, size) => {
      await using into = await temporaryStore();
      proxy.decide = ({ method, path }) =>
        method === "GET" && isBlob(path) ? { kind: "cut", after: 100_000 } : { kind: "pass" };
      await pullImage(into.store, name, { registry: quick() });
      const ranges = proxy.seen.map((it) => it.headers.range).filter((it) => it !== undefined);
      expect(ranges.length).toBeGreaterThanOrEqual(Math.floor(size / 100_000) - 1);
      expect(new Set(ranges).size).toBe(ranges.length);
      const image = await into.store.resolve(name);
      expect(await digestsIn(into.store.root)).toHaveLength(5);
      expect(image?.manifest.layers).toHaveLength(3);
    });
  });

  test("an interrupted pull goes on in the next process", async () => {
    await misbehaving("resume:1", async (proxy, name) => {
      await using into = await temporaryStore();
      proxy.decide = firstBlobs(99, { kind: "cut", after: 200_000 });
      const stop = new AbortController();
      const onProgress = (event: TransferEvent) => {
        if (event.type === "blob" && event.status === "downloading" && event.done >= 200_000) stop.abort();
      };
      await expect(
        pullImage(into.store, name, { registry: quick(), signal: stop.signal, onProgress }),
      ).rejects.toThrow();
      expect((await into.store.list()).length).toBe(0);
      proxy.decide = () => ({ kind: "pass" });
      proxy.seen.length = 0;
      await pullImage(into.store, name, { registry: quick() });
      expect(proxy.seen.map((it) => it.headers.range)).toContain("bytes=200000-");
    });
  });

  test.each([429, 500, 502, 503])("status %d now and then is waited out", async (status) => {
    await misbehaving(`s${status}:1`, async (proxy, name) => {
      await using into = await temporaryStore();
      const counts = new Map<string, number>();
      proxy.decide = ({ path }) => {
        counts.set(path, (counts.get(path) ?? 0) + 1);
        return counts.get(path)! <= 2 ? { kind: "status", status, headers: { "retry-after": "0" } } : { kind: "pass" };
      };
      await pullImage(into.store, name, { registry: quick() });
    });
  });

  test.each<[string, (request: { path: string }) => Fault, string]>([
    [
      "limits the rate for long",
      () => ({ kind: "status", status: 429, headers: { "retry-after": "3600" } }),
      "REGISTRY_RATE_LIMIT",
    ],
    ["fails for good", () => ({ kind: "status", status: 500 }), "REGISTRY_FAILED"],
    [
      "denies",
      () => ({ kind: "status", status: 403, body: '{"errors":[{"code":"DENIED","message":"no"}]}' }),
      "REGISTRY_DENIED",
    ],
    ["wants a login without saying which", () => ({ kind: "status", status: 401 }), "REGISTRY_UNAUTHORISED"],
    ["is no registry", () => ({ kind: "status", status: 200, body: "<html>" }), "IMAGE_INVALID"],
    [
      "redirects in circles",
      ({ path }) => ({ kind: "status", status: 307, headers: { location: path } }),
      "REGISTRY_PROTOCOL",
    ],
    [
      "sends wrong manifests",
      ({ path }) => (path.includes("/manifests/") ? { kind: "corrupt" } : { kind: "pass" }),
      "DIGEST_MISMATCH",
    ],
    ["sends wrong blobs", ({ path }) => (isBlob(path) ? { kind: "corrupt" } : { kind: "pass" }), "DIGEST_MISMATCH"],
    ["sends too much", ({ path }) => (isBlob(path) ? { kind: "lengthen" } : { kind: "pass" }), "SIZE_MISMATCH"],
    [
      "cuts without end",
      ({ path }) => (isBlob(path) ? { kind: "cut", after: 0 } : { kind: "pass" }),
      "REGISTRY_INTERRUPTED",
    ],
    ["stalls", ({ path }) => (isBlob(path) ? { kind: "stall" } : { kind: "pass" }), "REGISTRY_STALLED"],
    ["drips", ({ path }) => (isBlob(path) ? { kind: "drip", everyMs: 20 } : { kind: "pass" }), "REGISTRY_STALLED"],
  ])("one that %s is an error, and nothing of it stays", async (_what, decide, code) => {
    await misbehaving("bad:1", async (proxy, name) => {
      await using into = await temporaryStore();
      proxy.decide = decide;
      const timeouts = { idle: 500, floor: { bytes: 1000, ms: 150 } };
      const pulled = pullImage(into.store, name, { registry: quick({ timeouts }) });
      await expect(pulled).rejects.toMatchObject({ code });
      expect(await into.store.list()).toEqual([]);
      expect(await digestsIn(into.store.root)).toEqual([]);
      proxy.decide = () => ({ kind: "pass" });
      await pullImage(into.store, name, { registry: quick() });
      expect(await digestsIn(into.store.root)).toHaveLength(5);
    });
  });

  test("credentials do not follow a redirect to another host", async () => {
    await misbehaving("redirected:1", async (proxy, name) => {
      await using into = await temporaryStore();
      await using elsewhere = await startFaultProxy(registry.host);
      const basic = `Basic ${Buffer.from("me:secret").toString("base64")}`;
      proxy.decide = ({ path, headers }) => {
        const challenge = { "www-authenticate": 'Basic realm="x"' };
        if (headers.authorization !== basic) return { kind: "status", status: 401, headers: challenge };
        return isBlob(path)
          ? { kind: "status", status: 307, headers: { location: `http://${elsewhere.host}${path}` } }
          : { kind: "pass" };
      };
      const credentials = async () => ({ kind: "basic", username: "me", password: "secret" }) as const;
      await pullImage(into.store, name, { registry: quick({ credentials }) });
      expect(elsewhere.seen).toHaveLength(4);
      expect(elsewhere.seen.every((it) => it.headers.authorization === undefined)).toBe(true);
    });
  });

  test("processes that want the same blobs share the work", async () => {
    await misbehaving("shared:1", async (proxy, name) => {
      await using into = await temporaryStore();
      const others = await Promise.all([1, 2].map(() => openImageStore(into.store.root)));
      await Promise.all([into.store, ...others].map((store) => pullImage(store, name, { registry: quick() })));
      await Promise.all(others.map((store) => store.close()));
      expect(proxy.seen.filter((it) => it.method === "GET" && isBlob(it.path))).toHaveLength(4);
      expect(await readdir(path.join(into.store.root, ".partial"))).toEqual([]);
    });
  });

  test("an upload that is cut is taken up again", async () => {
    await using from = await temporaryStore();
    await using proxy = await startFaultProxy(registry.host);
    const name = `${proxy.host}/upload-cut:1`;
    const image = await makeImage(from.store, [name], { size: 800_000 });
    let cuts = 3;
    proxy.decide = ({ method, headers }) =>
      ["PATCH", "PUT"].includes(method) && Number(headers["content-length"]) > 100_000 && cuts-- > 0
        ? { kind: "cut-upload", after: 90_000 }
        : { kind: "pass" };
    await pushImage(from.store, name, { registry: quick({ chunkSize: 400_000 }) });
    expect(cuts).toBeLessThan(1);
    const inspected = JSON.parse(await skopeo("inspect", `docker://${registry.host}/upload-cut:1`));
    expect(inspected.Digest).toBe(image.target.digest);
    await skopeo("copy", "-q", `docker://${registry.host}/upload-cut:1`, `dir:${path.join(from.directory, "copy")}`);
  });
});

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { digestOf } from "../../../src/oci/digests.js";
import { ensureImage } from "../../../src/oci/ensure.js";
import { mediaTypes } from "../../../src/oci/media-types.js";
import { parseReference } from "../../../src/oci/references.js";
import { eraseCredentials } from "../../../src/oci/registry/credentials.js";
import { login } from "../../../src/oci/registry/login.js";
import type { TransferEvent } from "../../../src/oci/registry/progress.js";
import { beginPull, pullImage } from "../../../src/oci/registry/pull.js";
import { pushImage } from "../../../src/oci/registry/push.js";
import { listReferrers } from "../../../src/oci/registry/referrers.js";
import { openSession } from "../../../src/oci/registry/session.js";
import { openDisk } from "../../../src/rootfs/disk-tree.js";
import { ensureRootDisks } from "../../../src/rootfs/disks.js";
import type { ByteString } from "../../../src/support/brands.js";
import { openHome } from "../../../src/support/home.js";
import { startFaultProxy } from "./fault-proxy.js";
import { makeImage, published, quick, run, skopeo, temporaryStore } from "./fixtures.js";
import {
  close,
  listen,
  makeCertificates,
  type RegistryServer,
  startRegistry,
  startTokenIssuer,
  type TestCertificates,
} from "./registry-server.js";

let registry: RegistryServer;
let certificates: TestCertificates;
beforeAll(async () => {
  registry = await startRegistry();
  certificates = await makeCertificates();
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await certificates[Symbol.asyncDispose]();
});

describe("with a plain registry", () => {
  test("what we push, skopeo and umoci read, digest for digest", async () => {
    const image = await published(registry, "ours:1", { size: 300_000 });
    const raw = await skopeo("inspect", "--raw", `docker://${registry.host}/ours:1`);
    expect(JSON.parse(raw)).toEqual(image.manifest);
    await using copy = await temporaryStore();
    const layout = path.join(copy.directory, "layout");
    await skopeo("copy", "-q", `docker://${registry.host}/ours:1`, `oci:${layout}:x`);
    expect(JSON.parse(await readFile(path.join(layout, "index.json"), "utf8")).manifests[0].digest).toBe(
      image.target.digest,
    );
    const bundle = path.join(copy.directory, "bundle");
    await run("umoci", "unpack", "--image", `${layout}:x`, bundle);
    expect((await readdir(path.join(bundle, "rootfs"))).sort()).toEqual(["big", "bin", "etc"]);
    expect(await readdir(path.join(bundle, "rootfs/etc"))).toEqual([]);
  });

  test.each(["oci", "v2s2"])("what skopeo pushes as %s, we pull, digest for digest", async (format) => {
    await using from = await temporaryStore();
    await makeImage(from.store, ["source"], { size: 5000 });
    const name = `${registry.host}/theirs:${format}`;
    await skopeo(
      "copy",
      "-q",
      "--format",
      format,
      `oci:${from.store.root}:docker.io/library/source:latest`,
      `docker://${name}`,
    );
    const { Digest } = JSON.parse(await skopeo("inspect", `docker://${name}`));
    await using into = await temporaryStore();
    const pulled = await pullImage(into.store, name, { registry: quick() });
    expect(pulled.target.digest).toBe(Digest);
    expect((await into.store.resolve(name))?.config.config?.Cmd).toEqual(["/bin/app"]);
    // Skopeo finds only OCI manifests in a layout; docker's keep their digest, and so their type.
    if (format === "oci") {
      expect(JSON.parse(await skopeo("inspect", `oci:${into.store.root}:${name}`)).Digest).toBe(Digest);
    }
  });

  test("a second pull fetches nothing, a push of what is there sends nothing", async () => {
    await published(registry, "again:1");
    await using into = await temporaryStore();
    await using proxy = await startFaultProxy(registry.host);
    await pullImage(into.store, `${proxy.host}/again:1`, { registry: quick() });
    const fetched = proxy.count("GET", "/blobs/");
    expect(fetched).toBe(4);
    await pullImage(into.store, `${proxy.host}/again:1`, { registry: quick() });
    await pushImage(into.store, `${proxy.host}/again:1`, { registry: quick() });
    expect(proxy.count("GET", "/blobs/")).toBe(fetched);
    expect(proxy.count("POST", "/blobs/uploads/")).toBe(0);
  });

  test("blobs are mounted from another repository of the registry", async () => {
    await published(registry, "mount/from:1");
    await using into = await temporaryStore();
    await pullImage(into.store, `${registry.host}/mount/from:1`, { registry: quick() });
    await into.store.tag(`${registry.host}/mount/from:1`, `${registry.host}/mount/to:1`);
    const events: TransferEvent[] = [];
    const onProgress = (event: TransferEvent) => void events.push(event);
    await pushImage(into.store, `${registry.host}/mount/to:1`, { registry: quick(), onProgress });
    expect(events.filter((it) => it.type === "blob").map((it) => it.status)).toEqual(Array(4).fill("mounted"));
  });

  test("uploads in pieces arrive whole", async () => {
    await using from = await temporaryStore();
    const name = `${registry.host}/pieces:1`;
    const image = await makeImage(from.store, [name], { size: 1_000_000 });
    await using proxy = await startFaultProxy(registry.host);
    await from.store.tag(name, `${proxy.host}/pieces:1`);
    await pushImage(from.store, `${proxy.host}/pieces:1`, { registry: quick({ chunkSize: 256 << 10 }) });
    expect(proxy.count("PATCH", "/blobs/uploads/")).toBeGreaterThan(4);
    expect(JSON.parse(await skopeo("inspect", `docker://${name}`)).Digest).toBe(image.target.digest);
  });

  test("the platform is chosen out of an index, and another one is refused with what there is", async () => {
    await using from = await temporaryStore();
    const images = [];
    for (const architecture of ["amd64", "arm64"]) {
      const image = await makeImage(from.store, [], { architecture });
      images.push({ ...image.target, platform: { os: "linux", architecture } });
    }
    const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: images };
    const target = await from.store.writeBlob(Buffer.from(JSON.stringify(index)), { mediaType: mediaTypes.ociIndex });
    const name = `${registry.host}/multi:1`;
    await from.store.putTarget(target, [name]);
    await pushImage(from.store, name, { registry: quick() });
    await using into = await temporaryStore();
    const arm = { os: "linux", architecture: "arm64" };
    const pulled = await pullImage(into.store, name, { platform: arm, registry: quick() });
    expect(pulled.target.digest).toBe(images[1]!.digest);
    const wanted = pullImage(into.store, name, { platform: { os: "linux", architecture: "s390x" }, registry: quick() });
    await expect(wanted).rejects.toMatchObject({ code: "NO_SUCH_PLATFORM", hint: "it has linux/amd64, linux/arm64" });
    expect((await into.store.find(name))?.target.digest).toBe(target.digest);
    // The other platform is not here, but it is there: the index goes back as it is.
    const pushed = await pushImage(into.store, name, { registry: quick() });
    expect(pushed.target.digest).toBe(target.digest);
    // Elsewhere it is not, so the platform that is here goes alone.
    await into.store.tag(name, `${registry.host}/multi-elsewhere:1`);
    const alone = await pushImage(into.store, `${registry.host}/multi-elsewhere:1`, { registry: quick() });
    expect(alone.target.digest).toBe(images[1]!.digest);
  });

  test("a digest pins what is pulled", async () => {
    const image = await published(registry, "pinned:1");
    await using into = await temporaryStore();
    const name = `${registry.host}/pinned@${image.target.digest}`;
    expect((await pullImage(into.store, name, { registry: quick() })).target.digest).toBe(image.target.digest);
    expect((await into.store.resolve(name))?.target.digest).toBe(image.target.digest);
  });

  test("ensureImage pulls always, when missing, or never", async () => {
    await published(registry, "ensured:1");
    const name = `${registry.host}/ensured:1`;
    await using into = await temporaryStore();
    await expect(ensureImage(into.store, name, { pull: "never" })).rejects.toMatchObject({ code: "IMAGE_NOT_FOUND" });
    const first = await ensureImage(into.store, name, { pull: "missing", registry: quick() });
    const next = await published(registry, "ensured:1");
    const missing = await ensureImage(into.store, name, { pull: "missing", registry: quick() });
    expect(missing.target.digest).toBe(first.target.digest);
    const always = await ensureImage(into.store, name, { pull: "always", registry: quick() });
    expect(always.target.digest).toBe(next.target.digest);
  });

  test("layers can be used while later ones are still on their way", async () => {
    const image = await published(registry, "flowing:1");
    await using proxy = await startFaultProxy(registry.host);
    await using into = await temporaryStore();
    const last = image.manifest.layers.at(-1)!;
    let held = true;
    proxy.decide = ({ path }) =>
      held && path.includes(last.digest) ? { kind: "status", status: 503 } : { kind: "pass" };
    const patient = quick({ retry: { attempts: 10_000, delay: 5, maxDelay: 10 } });
    const pending = await beginPull(into.store, `${proxy.host}/flowing:1`, { registry: patient });
    await pending.layerReady(image.manifest.layers[0]!);
    await (await into.store.openBlob(image.manifest.layers[0]!.digest)).close();
    expect(await into.store.list()).toEqual([]);
    held = false;
    await pending.layerReady(last);
    await pending.finished;
    expect((await into.store.resolve(`${proxy.host}/flowing:1`))?.target.digest).toBe(image.target.digest);

    await using other = await temporaryStore();
    proxy.decide = ({ path }) => (path.includes(last.digest) ? { kind: "status", status: 404 } : { kind: "pass" });
    const broken = await beginPull(other.store, `${proxy.host}/flowing:1`, { registry: quick() });
    await expect(broken.layerReady(last)).rejects.toMatchObject({ code: "REGISTRY_NOT_FOUND" });
    await expect(broken.finished).rejects.toMatchObject({ code: "REGISTRY_NOT_FOUND" });
  });

  test("layers in gzip, zstd or plain, of OCI's types or Docker's, become disks", async () => {
    const at = (form: string) => `docker://${registry.host}/forms:${form}`;
    // The first layer is other content each time, so skopeo can't take a blob that is there already in its place.
    for (const form of ["gzip", "none", "docker", "zstd"]) {
      await using from = await temporaryStore();
      const compression = form === "none" ? "none" : "gzip";
      await makeImage(from.store, [`${registry.host}/forms:${form}`], { size: 50_000, compression });
      const source = `oci:${from.store.root}:${registry.host}/forms:${form}`;
      const plain = `dir:${from.directory}/plain`;
      if (form === "docker") await skopeo("copy", "-q", "--format", "v2s2", source, at(form));
      else if (form === "zstd") {
        await skopeo("copy", "-q", "--dest-decompress", source, plain);
        await skopeo("copy", "-q", "--dest-compress", "--dest-compress-format=zstd", plain, at(form));
      } else await pushImage(from.store, `${registry.host}/forms:${form}`, { registry: quick() });
    }
    const expected = {
      gzip: mediaTypes.ociLayerGzip,
      docker: mediaTypes.dockerLayerGzip,
      zstd: mediaTypes.ociLayerZstd,
      none: mediaTypes.ociLayer,
    };
    for (const [form, type] of Object.entries(expected)) {
      await using into = await temporaryStore();
      const home = openHome({ AEGIS_HOME: into.directory });
      const { config, manifest } = await pullImage(into.store, `${registry.host}/forms:${form}`, { registry: quick() });
      expect(manifest.layers[0]!.mediaType).toBe(type);
      const disks = await ensureRootDisks(home, into.store, { config, layers: manifest.layers });
      using disk = openDisk(disks.lowers[0]!.path);
      expect((await disk.view.lookup("bin/app" as ByteString))?.entry.mode).toBe(0o755);
      expect(await disk.view.lookup("etc/hostname" as ByteString)).toBeUndefined();
    }
  });

  test("a foreign layer is refused with where it would have to come from", async () => {
    await using from = await temporaryStore();
    const image = await makeImage(from.store, [`${registry.host}/windows:1`]);
    await pushImage(from.store, `${registry.host}/windows:1`, { registry: quick() });
    const url = "https://vendor.example/layer";
    const foreign = {
      mediaType: mediaTypes.dockerForeignLayer,
      digest: digestOf("not here"),
      size: 8,
      urls: [url],
    };
    const manifest = { ...image.manifest, layers: [foreign, ...image.manifest.layers.slice(1)] };
    await using proxy = await startFaultProxy(registry.host);
    // A registry that checks would not take the manifest, so the proxy gives it.
    proxy.decide = ({ path: wanted }) => {
      if (!wanted.includes("/manifests/"))
        return wanted.includes(foreign.digest) ? { kind: "status", status: 404 } : { kind: "pass" };
      const headers = { "content-type": mediaTypes.ociManifest };
      return { kind: "status", status: 200, headers, body: JSON.stringify(manifest) };
    };
    await using into = await temporaryStore();
    const pulling = pullImage(into.store, `${proxy.host}/windows:1`, { registry: quick() });
    await expect(pulling).rejects.toMatchObject({ code: "FOREIGN_LAYER", message: expect.stringContaining(url) });
  });

  test("referrers are kept in a tag where the registry has no API for them", async () => {
    const subject = await published(registry, "signed:1");
    await using from = await temporaryStore();
    const { store } = from;
    const empty = await store.writeBlob(Buffer.from("{}"), { mediaType: mediaTypes.ociEmpty });
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      artifactType: "application/vnd.test.signature",
      config: empty,
      layers: [empty],
      subject: subject.target,
    };
    const target = await store.writeBlob(Buffer.from(JSON.stringify(manifest)), { mediaType: mediaTypes.ociManifest });
    const name = `${registry.host}/signed:signature`;
    await store.putTarget(target, [name]);
    await pushImage(store, name, { registry: quick() });
    await pushImage(store, name, { registry: quick() });
    await using session = await openSession(parseReference(name), "pull", quick());
    const found = await listReferrers(session.places[0]!, subject.target.digest, "application/vnd.test.signature");
    expect(found.map((it) => it.digest)).toEqual([target.digest]);
    expect(await listReferrers(session.places[0]!, subject.target.digest, "application/other")).toEqual([]);
    await expect(pullImage(store, name, { registry: quick() })).rejects.toMatchObject({ code: "NOT_AN_IMAGE" });
  });

  test.each([
    ["an unknown tag", "nothing:here", "REGISTRY_NOT_FOUND"],
    ["an unknown host", "registry.invalid/x", "REGISTRY_DNS"],
    ["a closed port", "127.0.0.1:1/x", "REGISTRY_UNREACHABLE"],
  ])("%s has its code", async (_what, name, code) => {
    await using into = await temporaryStore();
    const full = name.includes("/") ? name : `${registry.host}/${name}`;
    await expect(pullImage(into.store, full, { registry: quick() })).rejects.toMatchObject({ code });
  });
});

describe("with a token issuer", () => {
  test("strangers get what is public, members everything, others a clear refusal", async () => {
    await using issuer = await startTokenIssuer(certificates);
    await using guarded = await startRegistry({ tokens: { realm: issuer.realm, certificates } });
    await using home = await temporaryStore();
    const env = { HOME: home.directory, PATH: process.env.PATH };
    const member = quick({ env });
    const { store } = home;
    for (const name of ["public/app", "private/app"]) {
      await makeImage(store, [`${guarded.host}/${name}:1`]);
      const refused = pushImage(store, `${guarded.host}/${name}:1`, { registry: member });
      await expect(refused).rejects.toMatchObject({ code: "REGISTRY_UNAUTHORISED" });
    }
    const wrong = login(guarded.host, { kind: "basic", username: "me", password: "wrong" }, member);
    await expect(wrong).rejects.toMatchObject({ code: "REGISTRY_UNAUTHORISED" });
    const where = await login(guarded.host, { kind: "basic", username: "me", password: "secret" }, member);
    expect(where).toBe(path.join(home.directory, ".docker/config.json"));
    for (const name of ["public/app", "private/app"])
      await pushImage(store, `${guarded.host}/${name}:1`, { registry: member });
    await store.tag(`${guarded.host}/private/app:1`, `${guarded.host}/private/mounted:1`);
    const statuses: string[] = [];
    const onProgress = (event: TransferEvent) => void (event.type === "blob" && statuses.push(event.status));
    await pushImage(store, `${guarded.host}/private/mounted:1`, { registry: member, onProgress });
    expect(statuses).toEqual(Array(4).fill("mounted"));
    const scopes = issuer.requests.map((it) => it.url.searchParams.get("scope")).filter(Boolean);
    expect(scopes).toContain("repository:private/app:pull,push");

    await using into = await temporaryStore();
    await pullImage(into.store, `${guarded.host}/public/app:1`, { registry: quick() });
    const stranger = pullImage(into.store, `${guarded.host}/private/app:1`, { registry: quick() });
    await expect(stranger).rejects.toMatchObject({
      code: "REGISTRY_UNAUTHORISED",
      hint: expect.stringContaining(`aegis login ${guarded.host}`),
    });
    await pullImage(into.store, `${guarded.host}/private/app:1`, { registry: member });
    const credentials = async () => ({ kind: "identity", token: "refresh-me" }) as const;
    await using third = await temporaryStore();
    await pullImage(third.store, `${guarded.host}/private/app:1`, { registry: quick({ credentials }) });
    expect(issuer.requests.at(-1)!.body).toContain("grant_type=refresh_token");

    expect(await eraseCredentials(guarded.host, env)).toBe(true);
    expect(await eraseCredentials(guarded.host, env)).toBe(false);
    expect(JSON.parse(await readFile(where, "utf8"))).toEqual({ auths: {} });
  });

  test("a credential helper is asked, told and cleared", async () => {
    await using issuer = await startTokenIssuer(certificates);
    await using guarded = await startRegistry({ tokens: { realm: issuer.realm, certificates } });
    await using home = await temporaryStore();
    const bin = path.join(home.directory, "bin");
    const kept = path.join(home.directory, "kept");
    await mkdir(bin);
    await mkdir(path.join(home.directory, ".docker"));
    const script = `#!/bin/sh\ncase $1 in store) cat > ${kept};; get) cat >/dev/null; [ -f ${kept} ] && exec cat ${kept}; echo "credentials not found in native keychain"; exit 1;; erase) rm ${kept};; esac\n`;
    await writeFile(path.join(bin, "docker-credential-test"), script, { mode: 0o755 });
    await writeFile(
      path.join(home.directory, ".docker/config.json"),
      JSON.stringify({ credHelpers: { [guarded.host]: "test" } }),
    );
    const env = { HOME: home.directory, PATH: `${bin}:${process.env.PATH}` };
    const name = `${guarded.host}/private/helped:1`;
    await makeImage(home.store, [name]);
    await expect(pushImage(home.store, name, { registry: quick({ env }) })).rejects.toMatchObject({
      code: "REGISTRY_UNAUTHORISED",
    });
    const where = await login(guarded.host, { kind: "basic", username: "me", password: "secret" }, quick({ env }));
    expect(where).toBe("the credential helper test");
    expect(JSON.parse(await readFile(kept, "utf8"))).toEqual({
      ServerURL: guarded.host,
      Username: "me",
      Secret: "secret",
    });
    expect(await readFile(path.join(home.directory, ".docker/config.json"), "utf8")).not.toContain("secret");
    await pushImage(home.store, name, { registry: quick({ env }) });
    expect(await eraseCredentials(guarded.host, env)).toBe(true);
  });
});

describe("on the way to a registry", () => {
  test("TLS needs a CA that is trusted: by certs.d or by registries.json", async () => {
    await using secure = await startRegistry({ tls: certificates });
    await using home = await temporaryStore();
    const name = `${secure.host}/tls:1`;
    await makeImage(home.store, [name]);
    await expect(pushImage(home.store, name, { registry: quick() })).rejects.toMatchObject({
      code: "REGISTRY_TLS",
      hint: expect.stringContaining(`/etc/docker/certs.d/${secure.host}/ca.crt`),
    });
    const directory = path.join(home.directory, "certs.d");
    await mkdir(path.join(directory, secure.host), { recursive: true });
    await writeFile(path.join(directory, secure.host, "ca.crt"), await readFile(certificates.ca));
    await pushImage(home.store, name, { registry: quick({ certificateDirectories: [directory] }) });
    const settingsFile = path.join(home.directory, "registries.json");
    await writeFile(settingsFile, JSON.stringify({ registries: { [secure.host]: { ca: certificates.ca } } }));
    await pullImage(home.store, name, { registry: quick({ settingsFile }) });
    await writeFile(settingsFile, JSON.stringify({ registries: { [secure.host]: { insecure: true } } }));
    await pullImage(home.store, name, { registry: quick({ settingsFile }) });
    await writeFile(settingsFile, JSON.stringify({ registries: { [secure.host]: { mirror: [] } } }));
    const typo = pullImage(home.store, name, { registry: quick({ settingsFile }) });
    await expect(typo).rejects.toMatchObject({ code: "BAD_REGISTRIES_CONFIG" });
  });

  test("mirrors are asked first, and done without when they fail", async () => {
    await published(registry, "hub/library/mirrored:1");
    await using home = await temporaryStore();
    await using mirror = await startFaultProxy(registry.host);
    await using origin = await startFaultProxy(registry.host);
    const settingsFile = path.join(home.directory, "registries.json");
    const write = (mirrors: readonly string[]) =>
      writeFile(settingsFile, JSON.stringify({ registries: { [origin.host]: { mirrors } } }));
    await write([`http://${mirror.host}/hub`]);
    await pullImage(home.store, `${origin.host}/library/mirrored:1`, { registry: quick({ settingsFile }) });
    expect(origin.seen).toEqual([]);
    expect(mirror.count("GET", "/v2/hub/library/mirrored/")).toBe(5);
    await published(registry, "library/fallback:1");
    await write(["http://127.0.0.1:1", `http://${mirror.host}/hub`]);
    await pullImage(home.store, `${origin.host}/library/fallback:1`, { registry: quick({ settingsFile }) });
    expect(origin.count("GET", "/manifests/")).toBe(1);
  });

  test("a proxy of the environment is used, except for this machine", async () => {
    await published(registry, "proxied:1");
    const asked: string[] = [];
    const server = createServer((_request, response) => response.writeHead(500).end());
    const { connect } = await import("node:net");
    server.on("connect", (request, socket) => {
      asked.push(request.url!);
      const [host, port] = registry.host.split(":");
      const onward = connect(Number(port), host!, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        onward.pipe(socket).pipe(onward);
      });
      for (const end of [onward, socket]) end.on("error", () => [onward, socket].map((it) => it.destroy()));
    });
    const port = await listen(server);
    const directory = await mkdtemp(path.join(tmpdir(), "aegis-proxy-"));
    try {
      const settingsFile = path.join(directory, "registries.json");
      await writeFile(settingsFile, JSON.stringify({ registries: { "registry.test": { insecure: true } } }));
      await using into = await temporaryStore();
      const env = { HOME: directory, http_proxy: `127.0.0.1:${port}`, HTTPS_PROXY: `http://127.0.0.1:${port}` };
      await pullImage(into.store, "registry.test/proxied:1", { registry: quick({ env, settingsFile }) });
      expect(asked).toContain("registry.test:80");
      asked.length = 0;
      await pullImage(into.store, `${registry.host}/proxied:1`, { registry: quick({ env, settingsFile }) });
      expect(asked).toEqual([]);
    } finally {
      await close(server);
      await rm(directory, { recursive: true, force: true });
    }
  });
});

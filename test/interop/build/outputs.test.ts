import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BuildSandbox } from "../../helpers/build-sandbox.js";
import { startRegistry } from "../oci/registry-server.js";

const run = promisify(execFile);
let sandbox: BuildSandbox;
beforeEach(() => {
  sandbox = new BuildSandbox().write({ app: "an application ".repeat(200), "dir/link": "x" });
  mkdirSync(at(""), { recursive: true });
});
afterEach(() => sandbox[Symbol.dispose]());

const at = (name: string) => path.join(sandbox.root, "out", name);
const dockerfile = "FROM base\nCOPY app /app\nENV A=b\n";

async function base(): Promise<void> {
  await sandbox.build("FROM scratch\nCOPY dir /dir\n", { tags: ["base"] });
}

async function skopeo(...args: string[]): Promise<string> {
  return (await run("skopeo", args, { maxBuffer: 16 << 20 })).stdout;
}

interface Manifest {
  readonly mediaType: string;
  readonly config: { readonly mediaType: string };
  readonly layers: readonly { readonly mediaType: string; readonly digest: string; readonly size: number }[];
  readonly manifests: readonly {
    readonly digest: string;
    readonly platform: { readonly architecture: string };
    readonly annotations?: Record<string, string>;
  }[];
  readonly annotations?: Record<string, string>;
}

const rawOf = async (name: string): Promise<Manifest> => JSON.parse(await skopeo("inspect", "--raw", name));

describe("an image for others", () => {
  it.each([
    ["compression=uncompressed", ["tar+gzip", "tar"]],
    ["compression=zstd", ["tar+gzip", "tar+zstd"]],
    ["compression=zstd,force-compression=true,compression-level=9", ["tar+zstd", "tar+zstd"]],
    ["compression=gzip,compression-level=9", ["tar+gzip", "tar+gzip"]],
  ])("with %s has layers so compressed, which skopeo and umoci read", async (fields, types) => {
    await base();
    const layout = at("layout");
    await sandbox.build(dockerfile, { output: [`type=oci,tar=false,dest=${layout},name=app:1,${fields}`] });
    const { layers } = await rawOf(`oci:${layout}:1`);
    expect(layers.map(({ mediaType }) => mediaType.split(".").at(-1))).toEqual(types);
    // skopeo checks each diff id as it goes; this umoci knows no zstd.
    const gzip = ["--dest-compress", "--dest-compress-format", "gzip"];
    await skopeo("copy", "-q", ...gzip, `oci:${layout}:1`, `oci:${at("plain")}:1`);
    await run("umoci", ["unpack", "--rootless", "--image", `${at("plain")}:1`, at("bundle")]);
    expect(readdirSync(at("bundle/rootfs")).sort()).toEqual(["app", "dir"]);
  });

  it("has Docker's media types when it is asked for them", async () => {
    await base();
    await sandbox.build(dockerfile, { output: [`type=docker,dest=${at("a.tar")},name=app:2,oci-mediatypes=false`] });
    const { mediaType, config, layers } = await rawOf(`oci-archive:${at("a.tar")}`);
    const types = [mediaType, config.mediaType, ...layers.map((layer) => layer.mediaType)];
    expect(types.map((type) => type.replace("application/vnd.docker.", ""))).toEqual([
      "distribution.manifest.v2+json",
      "container.image.v1+json",
      "image.rootfs.diff.tar.gzip",
      "image.rootfs.diff.tar.gzip",
    ]);
    expect(JSON.parse(await skopeo("inspect", `docker-archive:${at("a.tar")}:app:2`)).Env).toContain("A=b");
  });

  it("comes in several forms from one build, the archive through standard output", async () => {
    await base();
    const built = await sandbox.build(dockerfile, {
      tags: ["app:3"],
      output: ["type=oci", at("files"), `type=tar,dest=${at("tree.tar")}`, `type=disk,dest=${at("disk.ext4")}`],
    });
    writeFileSync(at("sent.tar"), Buffer.concat(sandbox.sent));
    expect(JSON.parse(await skopeo("inspect", `oci-archive:${at("sent.tar")}:3`)).Digest).toBe(built.image.digest);
    expect(readFileSync(at("files/app"), "utf8")).toHaveLength(3000);
    expect((await run("tar", ["tf", at("tree.tar")])).stdout.split("\n").sort()).toEqual([
      "",
      "app",
      "dir/",
      "dir/link",
    ]);
    await run("e2fsck", ["-fn", at("disk.ext4")]);
  });
});

describe("an image of several platforms", () => {
  const platforms = ["linux/amd64,linux/arm64"];
  const text = "FROM scratch\nARG TARGETARCH BUILDPLATFORM\nCOPY app /app-$TARGETARCH\nLABEL built=$BUILDPLATFORM\n";

  it("is an index with a manifest for each, annotated where it is asked for", async () => {
    const annotations = ["index:i=1", "m=2", "manifest-descriptor[linux/arm64]:d=3", "index-descriptor:id=4"];
    const output = [`type=oci,dest=${at("multi.tar")},name=multi:1`];
    await sandbox.build(text, { platforms, annotations, output });
    const index = await rawOf(`oci-archive:${at("multi.tar")}`);
    expect(index.manifests.map(({ platform, annotations }) => [platform.architecture, annotations])).toEqual([
      ["amd64", undefined],
      ["arm64", { d: "3" }],
    ]);
    expect(index.annotations).toEqual({ i: "1" });
    for (const arch of ["amd64", "arm64"]) {
      const name = `oci-archive:${at("multi.tar")}`;
      const config = JSON.parse(await skopeo("--override-arch", arch, "inspect", "--config", name));
      expect(config.architecture).toBe(arch);
      expect(config.history.at(-2).created_by).toBe(`COPY app /app-${arch} # buildkit`);
    }
    const { stdout } = await run("tar", ["xOf", at("multi.tar"), "index.json"]);
    expect(JSON.parse(stdout).manifests[0].annotations).toMatchObject({ id: "4" });
  });

  it("has its trees side by side", async () => {
    await sandbox.build(text, { platforms, output: [at("trees"), `type=tar,dest=${at("trees.tar")}`] });
    expect([readdirSync(at("trees/linux_amd64")), readdirSync(at("trees/linux_arm64"))]).toEqual([
      ["app-amd64"],
      ["app-arm64"],
    ]);
    const { stdout } = await run("tar", ["tf", at("trees.tar")]);
    expect(stdout.split("\n")).toContain("linux_arm64/app-arm64");
    const disk = sandbox.build(text, { platforms, output: [`type=disk,dest=${at("d")}`] });
    await expect(disk).rejects.toMatchObject({ code: "OUTPUT_ONE_PLATFORM" });
  });

  it("goes to a registry with what vouches for it, and skopeo copies all of it", async () => {
    await using registry = await startRegistry();
    const name = `${registry.host}/multi:1`;
    await sandbox.build(text, { platforms, tags: [name], push: true, provenance: "mode=max", buildArgs: ["X=y"] });
    await skopeo("copy", "-q", "--all", "--src-tls-verify=false", `docker://${name}`, `oci:${at("copy")}:1`);
    const index = await rawOf(`oci:${at("copy")}:1`);
    expect(index.manifests.map(({ platform }) => platform.architecture)).toEqual([
      "amd64",
      "arm64",
      "unknown",
      "unknown",
    ]);
    const [image, , attestation] = index.manifests;
    expect(attestation!.annotations).toEqual({
      "vnd.docker.reference.digest": image!.digest,
      "vnd.docker.reference.type": "attestation-manifest",
    });
    const blob = (digest: string) => JSON.parse(readFileSync(at(`copy/blobs/sha256/${digest.slice(7)}`), "utf8"));
    const statement = blob(blob(attestation!.digest).layers[0].digest);
    expect(statement).toMatchObject({
      _type: "https://in-toto.io/Statement/v0.1",
      predicateType: "https://slsa.dev/provenance/v0.2",
      subject: [{ digest: { sha256: image!.digest.slice(7) } }],
      predicate: {
        buildType: "https://mobyproject.org/buildkit@v1",
        invocation: { parameters: { args: { "build-arg:X": "y" } } },
        metadata: { completeness: { parameters: true } },
      },
    });
    expect(statement.subject[0].name).toMatch(/^pkg:docker\/127\.0\.0\.1:\d+\/multi@1\?platform=linux%2Famd64$/);
  });
});

it("an image pushed by digest has no tag at the registry", async () => {
  await using registry = await startRegistry();
  const output = [`type=registry,name=${registry.host}/plain,push-by-digest=true,compression=zstd`];
  const { image } = await sandbox.build("FROM scratch\nCOPY app /\n", { output });
  const name = `docker://${registry.host}/plain`;
  const raw = JSON.parse(await skopeo("inspect", "--raw", "--tls-verify=false", `${name}@${image.digest}`));
  expect(raw.layers[0].mediaType).toMatch(/zstd$/);
  await expect(skopeo("inspect", "--tls-verify=false", `${name}:latest`)).rejects.toThrow();
});

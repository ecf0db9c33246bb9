import { describe, expect, it } from "vitest";
import { parseEntitlements } from "../../../src/build/entitlements.js";
import { checkRunnable } from "../../../src/build/executors/foreign.js";
import { parseAnnotation } from "../../../src/build/export/annotations.js";
import { buildRequest } from "../../../src/build/request.js";
import { provenanceMode } from "../../../src/build/request-attest.js";
import { parseUlimit, stepHost } from "../../../src/build/request-limits.js";
import { buildOutputs } from "../../../src/build/request-outputs.js";
import { noFlags } from "../../helpers/build-sandbox.js";

const coded = (code: string) => expect.objectContaining({ code });
const outputs = (...words: string[]) => buildOutputs(words, { push: false, load: false }, []);
const attest = (flags: { provenance?: string; sbom?: string; attest?: string[] }) =>
  provenanceMode({ provenance: undefined, sbom: undefined, attest: [], ...flags });

describe("outputs", () => {
  it("are read as buildx reads them", () => {
    expect(outputs("out")).toEqual([{ type: "local", directory: "out", split: undefined }]);
    expect(outputs("-")).toEqual([{ type: "tar", file: "-", split: undefined }]);
    expect(outputs("type=cacheonly")).toEqual([]);
    expect(outputs("type=oci")).toMatchObject([{ type: "archive", file: "-" }]);
    expect(outputs("type=docker,name=a:1")).toMatchObject([{ type: "image", names: ["docker.io/library/a:1"] }]);
    expect(outputs("type=registry,name=a,compression=zstd,compression-level=5,rewrite-timestamp=true")).toMatchObject([
      { type: "image", push: true, variant: { compression: "zstd", level: 5, force: false } },
    ]);
    expect(outputs("type=image,annotation-index[linux/arm64].k=v")[0]).toMatchObject({
      variant: { annotations: [{ scope: "index", platform: "linux/arm64", key: "k", value: "v" }] },
    });
  });

  it("with --push push every image among them, else the build's own names", () => {
    const pushed = (words: string[]) => buildOutputs(words, { push: true, load: false }, []);
    expect(pushed(["type=image,name=a"])).toMatchObject([{ push: true, names: ["docker.io/library/a:latest"] }]);
    expect(pushed([])).toMatchObject([{ push: true, names: [] }]);
  });

  it.each([
    ["type=local", "USAGE"],
    ["type=oci,dest=x,compression=estargz", "COMPRESSION_UNSUPPORTED"],
    ["type=oci,dest=x,compression=lz4", "USAGE"],
    ["type=oci,dest=x,compression-level=77", "USAGE"],
    ["type=oci,dest=x,colour=red", "USAGE"],
    ["type=image,push=maybe", "USAGE"],
    ["type=ftp,dest=x", "USAGE"],
  ])("%s is refused", (word, code) => {
    expect(() => outputs(word)).toThrow(coded(code));
  });

  it("go to standard output one at a time", () => {
    expect(() => outputs("-", "type=oci")).toThrow(coded("USAGE"));
  });
});

describe("attestations", () => {
  it("are made only when they are asked for", () => {
    expect(attest({})).toBeUndefined();
    expect(attest({ provenance: "true" })).toBe("min");
    expect(attest({ provenance: "mode=max" })).toBe("max");
    expect(attest({ attest: ["type=provenance,mode=max"], provenance: "false" })).toBeUndefined();
    expect(attest({ sbom: "false" })).toBeUndefined();
  });

  it("of other kinds are refused with a word on what to do", () => {
    expect(() => attest({ sbom: "true" })).toThrow(coded("SBOM_UNSUPPORTED"));
    expect(() => attest({ attest: ["type=foo"] })).toThrow(coded("USAGE"));
    expect(() => attest({ provenance: "mode=huge" })).toThrow(coded("USAGE"));
  });
});

it("annotations name where they go", () => {
  expect(parseAnnotation("k=v=w")).toEqual([{ scope: "manifest", key: "k", value: "v=w" }]);
  expect(parseAnnotation("index,manifest[linux/arm64]:k=v")).toEqual([
    { scope: "index", key: "k", value: "v" },
    { scope: "manifest", platform: "linux/arm64", key: "k", value: "v" },
  ]);
  expect(() => parseAnnotation("nowhere:k=v")).toThrow(coded("USAGE"));
  expect(() => parseAnnotation("k")).toThrow(coded("USAGE"));
});

it("platforms come from the flag, in one word or several, or from the environment", () => {
  const platforms = (flags: Partial<typeof noFlags>, env = {}) =>
    buildRequest({ ...noFlags, ...flags }, env, { stdout: async () => undefined }).request.platforms.map(
      ({ architecture }) => architecture,
    );
  expect(platforms({ platforms: ["linux/arm64,linux/amd64", "linux/arm64"] })).toEqual(["arm64", "amd64"]);
  expect(platforms({}, { DOCKER_DEFAULT_PLATFORM: "linux/s390x" })).toEqual(["s390x"]);
});

it("limits, hosts and entitlements are checked", () => {
  expect(parseUlimit("nofile=10:20")).toEqual({ name: "nofile", soft: 10, hard: 20 });
  expect(parseUlimit("core=-1")).toEqual({ name: "core", soft: -1, hard: -1 });
  expect(() => parseUlimit("nofile=20:10")).toThrow(coded("USAGE"));
  expect(() => parseUlimit("files=1")).toThrow(coded("USAGE"));
  expect(stepHost("a:host-gateway", "host")).toEqual({ name: "a", address: "127.0.0.1" });
  expect(() => stepHost("a:nowhere", "default")).toThrow(coded("BAD_HOST"));
  expect(parseEntitlements(["security.insecure"], "host")).toEqual(["security.insecure", "network.host"]);
  expect(() => parseEntitlements(["all"], "default")).toThrow(coded("USAGE"));
});

it("RUN for another processor needs an emulator that the kernel knows", async () => {
  const host = { os: "linux", architecture: "amd64" };
  await checkRunnable({ os: "linux", architecture: "386" }, "vm", "", host);
  const foreign = checkRunnable({ os: "linux", architecture: "mips64le" }, "vm", "Dockerfile:2", host);
  await expect(foreign).rejects.toMatchObject({ code: "RUN_FOREIGN_PLATFORM", context: "Dockerfile:2" });
});

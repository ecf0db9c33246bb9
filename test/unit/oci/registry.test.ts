import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { beforeEach, describe, expect, test } from "vitest";
import { applyChange } from "../../../src/oci/archive/changes.js";
import { parseLayoutReference } from "../../../src/oci/archive/layout-reference.js";
import { portableCrc32 } from "../../../src/oci/compression/crc32.js";
import { parseChallenges } from "../../../src/oci/registry/auth.js";
import { eraseCredentials, findCredentials, storeCredentials } from "../../../src/oci/registry/credentials.js";
import { refusalError } from "../../../src/oci/registry/errors.js";
import { createHttp } from "../../../src/oci/registry/http.js";
import { registryDomain } from "../../../src/oci/registry/login.js";
import { proxyFor } from "../../../src/oci/registry/proxy.js";
import { endpointsOf, isLoopback } from "../../../src/oci/registry/settings.js";
import type { RuntimeConfig } from "../../../src/oci/types.js";
import { scratchDirectory } from "../../helpers/scratch.js";

test.each([
  [
    'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"',
    [
      {
        scheme: "bearer",
        parameters: { realm: "https://auth.example/token", service: "reg", scope: "repository:a/b:pull,push" },
      },
    ],
  ],
  ["Basic realm=plain", [{ scheme: "basic", parameters: { realm: "plain" } }]],
  [
    'Negotiate, Basic realm="a \\"b\\"", Bearer realm="x"',
    [
      { scheme: "negotiate", parameters: {} },
      { scheme: "basic", parameters: { realm: 'a "b"' } },
      { scheme: "bearer", parameters: { realm: "x" } },
    ],
  ],
  ["", []],
  ["=nonsense", []],
])("the challenge %j is understood", (header, expected) => {
  expect(parseChallenges(header)).toEqual(expected);
});

describe("proxies", () => {
  const choose = (url: string, env: Record<string, string>) => proxyFor(new URL(url), env)?.href;
  const both = { HTTPS_PROXY: "http://secure:3128", http_proxy: "plain:8080" };

  test.each([
    ["https://a.example/", both, "http://secure:3128/"],
    ["http://a.example/", both, "http://plain:8080/"],
    ["https://localhost:5000/", both, undefined],
    ["http://127.3.2.1/", both, undefined],
    ["https://a.example/", {}, undefined],
    ["https://a.example/", { ...both, NO_PROXY: "example" }, undefined],
    ["https://a.example/", { ...both, NO_PROXY: "b.example, .example" }, undefined],
    ["https://example/", { ...both, NO_PROXY: ".example" }, "http://secure:3128/"],
    ["https://aexample/", { ...both, NO_PROXY: "example" }, "http://secure:3128/"],
    ["https://a.example/", { ...both, no_proxy: "a.example:444" }, "http://secure:3128/"],
    ["https://a.example:444/", { ...both, no_proxy: "a.example:444" }, undefined],
    ["https://10.1.2.3/", { ...both, no_proxy: "10.1.0.0/16" }, undefined],
    ["https://10.2.2.3/", { ...both, no_proxy: "10.1.0.0/16" }, "http://secure:3128/"],
    ["https://a.example/", { ...both, no_proxy: "*" }, undefined],
  ])("%s with %j goes by %s", (url, env, expected) => expect(choose(url, env)).toBe(expected));

  test("a proxy that is no address is an error that does not repeat it", () => {
    expect(() => choose("https://a/", { HTTPS_PROXY: "socks5://user:secret@x" })).toThrow(/^(?!.*secret)/);
  });
});

describe("credentials in docker's config.json", () => {
  const scratch = scratchDirectory();
  let file: string;
  beforeEach(async () => {
    file = scratch("config.json");
  });
  const env = () => ({ DOCKER_CONFIG: scratch(), PATH: "" });
  const auth = Buffer.from("me:pass:word").toString("base64");
  const mine = { kind: "basic", username: "me", password: "pass:word" };

  test.each([
    ["docker.io", "https://index.docker.io/v1/"],
    ["docker.io", "index.docker.io"],
    ["ghcr.io", "ghcr.io"],
    ["ghcr.io", "https://ghcr.io/v2/"],
    ["localhost:5000", "localhost:5000"],
  ])("are found for %s under %s", async (domain, key) => {
    await writeFile(file, JSON.stringify({ auths: { [key]: { auth } } }));
    expect(await findCredentials(domain, env())).toEqual(mine);
    expect(await findCredentials("other.example", env())).toBeUndefined();
  });

  test("are written beside what was there, privately, and taken away again", async () => {
    await writeFile(file, JSON.stringify({ psFormat: "x", auths: { "a.example": { identitytoken: "t" } } }));
    await storeCredentials("docker.io", { kind: "basic", username: "me", password: "pass:word" }, env());
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      psFormat: "x",
      auths: { "a.example": { identitytoken: "t" }, "https://index.docker.io/v1/": { auth } },
    });
    expect(await findCredentials("a.example", env())).toEqual({ kind: "identity", token: "t" });
    expect(await eraseCredentials("docker.io", env())).toBe(true);
    expect(await findCredentials("docker.io", env())).toBeUndefined();
  });

  test("are not quoted when the file is broken or its helper is missing", async () => {
    await writeFile(file, `{"auths": {"x": {"auth": "${auth}" `);
    const broken = findCredentials("x", env());
    await expect(broken).rejects.toMatchObject({
      code: "BAD_DOCKER_CONFIG",
      message: expect.not.stringContaining(auth),
    });
    await writeFile(file, JSON.stringify({ credsStore: "no-such-helper" }));
    await expect(findCredentials("x", env())).rejects.toMatchObject({ code: "CREDENTIAL_HELPER" });
    await writeFile(file, JSON.stringify({ credsStore: "../../bin/sh" }));
    await expect(findCredentials("x", env())).rejects.toMatchObject({ code: "CREDENTIAL_HELPER" });
  });
});

describe("endpoints", () => {
  const settings = { mirrors: [], insecure: false, ca: [] };

  test("are the registry itself, after its mirrors", () => {
    const endpoints = endpointsOf("docker.io", { ...settings, mirrors: ["https://m.example/hub/"] });
    expect(endpoints.map((it) => [it.base.href, it.prefix, it.domain, it.allowHttp])).toEqual([
      ["https://m.example/", "hub", "m.example", false],
      ["https://registry-1.docker.io/", "", "docker.io", false],
    ]);
  });

  test("speak plain HTTP only here or where that is configured", () => {
    expect(endpointsOf("localhost:5000", settings)[0]!.allowHttp).toBe(true);
    expect(endpointsOf("10.0.0.5:5000", settings)[0]!.allowHttp).toBe(false);
    expect(endpointsOf("10.0.0.5:5000", { ...settings, insecure: true })[0]!.allowHttp).toBe(true);
    const plain = () => endpointsOf("docker.io", { ...settings, mirrors: ["http://m.example"] });
    expect(plain).toThrow(expect.objectContaining({ code: "BAD_REGISTRIES_CONFIG" }));
    expect(["localhost.example", "127.0.0.1.example", "128.0.0.1"].some(isLoopback)).toBe(false);
  });

  test.each([
    [undefined, "docker.io"],
    ["https://index.docker.io/v1/", "docker.io"],
    ["ghcr.io", "ghcr.io"],
    ["https://localhost:5000/v2/", "localhost:5000"],
  ])("%s is logged in to as %s", (text, expected) => expect(registryDomain(text)).toBe(expected));
});

describe("HTTP", () => {
  test("never follows a redirect with credentials to another origin, nor from TLS to plain", async () => {
    const seen: (string | undefined)[] = [];
    const other = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end("there");
    });
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const target = `http://127.0.0.1:${(other.address() as AddressInfo).port}/x`;
    const first = createServer((request, response) => {
      seen.push(request.headers.authorization);
      const location = request.url === "/start" ? "/same" : target;
      response.writeHead(302, { location }).end();
    });
    await new Promise<void>((resolve) => first.listen(0, "127.0.0.1", resolve));
    const http = createHttp({ env: {}, retry: { attempts: 1 } });
    try {
      const url = new URL(`http://127.0.0.1:${(first.address() as AddressInfo).port}/start`);
      const answer = await http.request(url, { authorization: "Bearer secret" });
      expect((await answer.bytes(100)).toString()).toBe("there");
      expect(seen).toEqual(["Bearer secret", "Bearer secret", undefined]);
    } finally {
      await http.close();
      await Promise.all([first, other].map((server) => new Promise((resolve) => server.close(resolve))));
    }
  });

  test("answers of a registry are quoted without control characters", () => {
    const body = JSON.stringify({ errors: [{ code: "DENIED", message: "\u001b[31mno\n" }] });
    const error = refusalError({ status: 403, url: new URL("https://r.example/"), subject: "x", body });
    expect(error.message).toBe("r.example denies access to x:  [31mno ");
  });
});

test("changes of import are applied as Docker applies them", () => {
  const changes = [
    'CMD ["node", "x.js"]',
    "entrypoint run me",
    'ENV A=1 B="x y"',
    "ENV A two words",
    "LABEL k=v",
    "EXPOSE 80 53/udp",
    'VOLUME ["/a b"]',
    "USER me",
    "WORKDIR /w",
    "STOPSIGNAL SIGINT",
  ];
  expect(changes.reduce<RuntimeConfig>(applyChange, {})).toEqual({
    Cmd: ["node", "x.js"],
    Entrypoint: ["/bin/sh", "-c", "run me"],
    Env: ["A=two words", "B=x y"],
    Labels: { k: "v" },
    ExposedPorts: { "80/tcp": {}, "53/udp": {} },
    Volumes: { "/a b": {} },
    User: "me",
    WorkingDir: "/w",
    StopSignal: "SIGINT",
  });
  expect(() => applyChange({}, "RUN x")).toThrow(expect.objectContaining({ code: "BAD_CHANGE" }));
});

test.each([
  ["oci:/abs/dir", { directory: "/abs/dir" }],
  ["oci:./dir:name", { directory: "./dir", name: "name" }],
  ["oci-layout://dir:a/b:1", { directory: "dir", name: "a/b:1" }],
  ["oci:22", undefined],
  ["oci", undefined],
  ["docker.io/oci:1", undefined],
])("%s names a layout: %j", (text, expected) => expect(parseLayoutReference(text)).toEqual(expected));

test("the portable CRC-32 is gzip's", () => {
  expect(portableCrc32(Buffer.from("123456789"))).toBe(0xcbf43926);
  expect(portableCrc32(Buffer.from("6789"), portableCrc32(Buffer.from("12345")))).toBe(0xcbf43926);
});

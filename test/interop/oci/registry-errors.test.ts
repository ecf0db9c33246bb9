import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AegisUnderTest, aegisUnderTest } from "../../helpers/aegis-cli.js";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.js";
import { published } from "./fixtures.js";
import {
  makeCertificates,
  type RegistryServer,
  startRegistry,
  startTokenIssuer,
  type TestCertificates,
  type TokenIssuer,
} from "./registry-server.js";

/** What people see when an image can't be had: the same code and advice whichever command wanted it. */

let aegis: AegisUnderTest;
let certificates: TestCertificates;
let issuer: TokenIssuer;
let plain: RegistryServer;
let guarded: RegistryServer;
let secure: RegistryServer;
let limited: FaultProxy;
beforeAll(async () => {
  aegis = await aegisUnderTest();
  certificates = await makeCertificates();
  issuer = await startTokenIssuer(certificates);
  plain = await startRegistry();
  guarded = await startRegistry({ tokens: { realm: issuer.realm, certificates } });
  secure = await startRegistry({ tls: certificates });
  limited = await startFaultProxy(plain.host);
  limited.decide = () => ({ kind: "status", status: 429, headers: { "retry-after": "3600" } });
  await published(plain, "app:1");
});
afterAll(async () => {
  await limited[Symbol.asyncDispose]();
  for (const server of [plain, guarded, secure, issuer, certificates]) await server[Symbol.asyncDispose]();
  await aegis.dispose();
});

interface Case {
  readonly code: string;
  readonly image: () => string;
  readonly hint: () => string;
  readonly flags?: readonly string[];
}

const cases: readonly Case[] = [
  {
    code: "REGISTRY_UNAUTHORISED",
    image: () => `${guarded.host}/private/app:1`,
    hint: () => `aegis login ${guarded.host}`,
  },
  { code: "REGISTRY_NOT_FOUND", image: () => `${plain.host}/app:nope`, hint: () => "check the name and the tag" },
  {
    code: "NO_SUCH_PLATFORM",
    image: () => `${plain.host}/app:1`,
    hint: () => "it has linux/amd64",
    flags: ["--platform", "linux/s390x"],
  },
  {
    code: "REGISTRY_TLS",
    image: () => `${secure.host}/app:1`,
    hint: () => `/etc/docker/certs.d/${secure.host}/ca.crt`,
  },
  {
    code: "REGISTRY_DNS",
    image: () => "registry.invalid/app:1",
    hint: () => "check its spelling, the network and its DNS",
  },
  {
    code: "REGISTRY_RATE_LIMIT",
    image: () => `${limited.host}/app:1`,
    hint: () => "wait 3600 s, log in, or use a mirror",
  },
  { code: "REGISTRY_UNREACHABLE", image: () => "127.0.0.1:1/app:1", hint: () => "check the network" },
];

describe.each(cases)("$code", ({ code, image: named, hint, flags = [] }) => {
  test("is what pull, run and build end with", async () => {
    const image = named();
    const context = path.join(aegis.scratch, code);
    await mkdir(context);
    await writeFile(path.join(context, "Dockerfile"), `FROM ${image}\nCMD ["x"]\n`);
    // The machine's own logins are none of the test's business.
    const env = { DOCKER_CONFIG: aegis.scratch };
    const results = await Promise.all([
      aegis.runWith({ env }, "pull", ...flags, image),
      aegis.runWith({ env }, "run", ...flags, image),
      aegis.runWith({ env }, "build", ...flags, context),
    ]);
    for (const { code: status, stderr } of results) {
      expect(stderr).toContain(`AEGIS_E_${code}`);
      expect(stderr).toContain(hint());
      expect(stderr).not.toContain("    at ");
      expect(status).toBe(125);
    }
  });
});

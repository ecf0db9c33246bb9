import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pruneBuildCache } from "../../../src/build/cache/prune.js";
import { readLastBuild } from "../../../src/build/last-build.js";
import { formatPlatform, hostPlatform } from "../../../src/oci/platforms.js";
import { BuildSandbox } from "../../helpers/build-sandbox.js";

let sandbox: BuildSandbox;
beforeEach(() => {
  sandbox = new BuildSandbox();
});
afterEach(() => sandbox[Symbol.dispose]());

describe("--build-context", () => {
  it("names a directory for COPY --from, and takes an image's place in FROM", async () => {
    mkdirSync(path.join(sandbox.root, "other"));
    writeFileSync(path.join(sandbox.root, "other", "f"), "x");
    await sandbox.build("FROM scratch\nLABEL from=real\n", { tags: ["real:1"] });
    const built = await sandbox.build("FROM wished:9\nCOPY --from=other f /f\n", {
      buildContexts: [`other=${path.join(sandbox.root, "other")}`, "wished:9=docker-image://real:1"],
    });
    expect(await sandbox.layer(built, 0)).toEqual(["644 0:0 f"]);
    expect(built.config.config!.Labels).toEqual({ from: "real" });
  });
});

describe("ADD", () => {
  it("fetches an address once, with its time and mode, and holds it to its checksum", async () => {
    let sent = 0;
    const server = createServer((request, response) => {
      response.setHeader("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT").setHeader("etag", '"v1"');
      if (request.headers["if-none-match"] === '"v1"') return response.writeHead(304).end();
      sent++;
      return response.end("remote");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/dir/file.txt`;
      const built = await sandbox.build(`FROM scratch\nADD ${address} /in/\nADD --chmod=644 ${address} /as\n`);
      expect(await sandbox.layer(built, 0)).toEqual(["755 0:0 in/", "600 0:0 in/file.txt"]);
      expect(await sandbox.layer(built, 1)).toEqual(["644 0:0 as"]);
      expect((await sandbox.build(`FROM scratch\nADD ${address} /in/\n`)).ran).toEqual([]);
      expect(sent).toBe(1);
      const wrong = sandbox.build(`FROM scratch\nADD --checksum=sha256:${"0".repeat(64)} ${address} /in/\n`);
      await expect(wrong).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
    } finally {
      server.close();
    }
  });
});

describe("the step cache", () => {
  const twoSteps = "FROM scratch\nCOPY a /a\nCOPY b /b\n";

  it("hits when only times have changed, and misses when a byte has", async () => {
    sandbox.write({ a: "1", b: "2" });
    const first = await sandbox.build(twoSteps);
    utimesSync(path.join(sandbox.context, "a"), 5, 5);
    const touched = await sandbox.build(twoSteps);
    expect(touched.cached).toHaveLength(2);
    expect(touched.imageId).toBe(first.imageId);
    sandbox.write({ b: "3" });
    const changed = await sandbox.build(twoSteps);
    expect(changed.ran).toEqual(["[2/2] COPY b /b"]);
    expect(changed.cached).toEqual(["[1/2] COPY a /a"]);
  });

  it("misses when a mode or a name has changed", async () => {
    sandbox.write({ "d/a": "1" });
    await sandbox.build("FROM scratch\nCOPY d /d\n");
    chmodSync(path.join(sandbox.context, "d", "a"), 0o600);
    expect((await sandbox.build("FROM scratch\nCOPY d /d\n")).ran).toHaveLength(1);
    sandbox.write({ "d/b": "" });
    expect((await sandbox.build("FROM scratch\nCOPY d /d\n")).ran).toHaveLength(1);
  });

  it("does not care about labels, comments and commands in between", async () => {
    sandbox.write({ a: "1", b: "2" });
    await sandbox.build(twoSteps);
    const built = await sandbox.build(
      "FROM scratch\n# why\nLABEL x=1\nCOPY   a /a\nCMD ['x']\nEXPOSE 80\nHEALTHCHECK NONE\nCOPY b /b\n",
    );
    expect(built.ran).toEqual([]);
  });

  it("is left alone by --no-cache, and does not change the layers", async () => {
    sandbox.write({ a: "1", b: "2" });
    const env = { SOURCE_DATE_EPOCH: "1700000000" };
    const first = await sandbox.build(twoSteps, {}, env);
    const again = await sandbox.build(twoSteps, { noCache: true }, env);
    expect(again.ran).toHaveLength(2);
    expect(again.imageId).toBe(first.imageId);
  });

  it("reads no file of an unchanged context twice", async () => {
    const names = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`d/${i}`, String(i)]));
    sandbox.write(names);
    const old = Date.now() / 1000 - 3600;
    for (const name of Object.keys(names)) utimesSync(path.join(sandbox.context, name), old, old);
    await sandbox.build("FROM scratch\nCOPY d /d\n");
    expect((await sandbox.build("FROM scratch\nCOPY d /d\n")).cached).toHaveLength(1);
    expect(readdirSync(path.join(sandbox.home.cache))).toContain("steps");
  });

  it("is emptied by pruning, after which every step is done again", async () => {
    sandbox.write({ a: "1", b: "2" });
    const first = await sandbox.build(twoSteps);
    expect(await pruneBuildCache(sandbox.home)).toBeGreaterThan(0);
    const again = await sandbox.build(twoSteps);
    expect(again.ran).toHaveLength(2);
    expect(again.config.rootfs).toEqual(first.config.rootfs);
  });

  it("leaves nothing in the temporary directory", async () => {
    sandbox.write({ a: "1", b: "2" });
    await sandbox.build(twoSteps);
    expect(readdirSync(sandbox.home.tmp)).toEqual([]);
  });
});

describe("the image's config", () => {
  it("has history and fields as the reference writes them", async () => {
    sandbox.write({ f: "" });
    const built = await sandbox.build(
      [
        "FROM scratch",
        "ARG FOO=bar BAZ",
        'ENV A=1 B="two words"',
        "LABEL x=y",
        "WORKDIR /app",
        "WORKDIR sub",
        "COPY f ./",
        "USER app",
        "EXPOSE 90 80-81/UDP",
        'VOLUME ["/v"]',
        "CMD echo hi",
        'ENTRYPOINT ["/bin/sh"]',
        "HEALTHCHECK --interval=3s --retries=2 CMD true",
        "STOPSIGNAL SIGTERM",
        'SHELL ["/bin/sh", "-ec"]',
        "ONBUILD RUN echo x",
        "MAINTAINER me",
      ].join("\n"),
    );
    expect(built.config.history!.map((it) => `${it.empty_layer ? "-" : "+"} ${it.created_by}`)).toEqual([
      "- ARG FOO=bar BAZ",
      "- ENV A=1 B=two words",
      "- LABEL x=y",
      "+ WORKDIR /app",
      "+ WORKDIR /app/sub",
      "+ COPY f ./ # buildkit",
      "- USER app",
      "- EXPOSE [80/udp 81/udp 90/tcp]",
      "- VOLUME [/v]",
      '- CMD ["/bin/sh" "-c" "echo hi"]',
      '- ENTRYPOINT ["/bin/sh"]',
      `- HEALTHCHECK &{["CMD-SHELL" "true"] "3s" "0s" "0s" "0s" '\\x02'}`,
      "- STOPSIGNAL SIGTERM",
      "- SHELL [/bin/sh -ec]",
      "- MAINTAINER me",
    ]);
    expect(built.config.config).toEqual({
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=1", "B=two words"],
      Labels: { x: "y" },
      WorkingDir: "/app/sub",
      User: "app",
      ExposedPorts: { "80/udp": {}, "81/udp": {}, "90/tcp": {} },
      Volumes: { "/v": {} },
      Cmd: ["/bin/sh", "-c", "echo hi"],
      ArgsEscaped: true,
      Entrypoint: ["/bin/sh"],
      Healthcheck: { Test: ["CMD-SHELL", "true"], Interval: 3_000_000_000, Retries: 2 },
      StopSignal: "SIGTERM",
      Shell: ["/bin/sh", "-ec"],
      OnBuild: ["RUN echo x"],
    });
    expect(built.config.author).toBe("me");
  });

  it("fires ONBUILD right after FROM, once", async () => {
    sandbox.write({ f: "" });
    await sandbox.build("FROM scratch\nONBUILD COPY f /from-base\n", { tags: ["base"] });
    const built = await sandbox.build("FROM base\nCOPY f /own\n", { tags: ["child"] });
    expect(built.config.history!.map((it) => it.created_by)).toEqual([
      "COPY f /from-base # buildkit",
      "COPY f /own # buildkit",
    ]);
    expect(built.config.config!.OnBuild).toBeUndefined();
  });

  it("clears an inherited CMD with a new ENTRYPOINT, not one of the same stage", async () => {
    await sandbox.build('FROM scratch\nCMD ["base"]\n', { tags: ["base"] });
    const cleared = await sandbox.build('FROM base\nENTRYPOINT ["e"]\n');
    expect(cleared.config.config!.Cmd).toBeUndefined();
    const kept = await sandbox.build('FROM base\nCMD ["own"]\nENTRYPOINT ["e"]\n');
    expect(kept.config.config!.Cmd).toEqual(["own"]);
  });

  it("takes build arguments over defaults, and global ones only when declared again", async () => {
    const text = "ARG G=global\nFROM scratch\nARG G\nARG V=default\nARG W=$V-$G\nENV OUT=$W-$HIDDEN\n";
    const built = await sandbox.build(text, { buildArgs: ["V=passed", "HIDDEN=no", "UNUSED=1"] });
    expect(built.config.config!.Env!.at(-1)).toBe("OUT=passed-global-");
    expect(built.events).toContainEqual({
      type: "warning",
      text: "one or more build arguments were not consumed: HIDDEN, UNUSED",
    });
  });

  it("tells what the rules say of the stages that it builds", async () => {
    const text = "FROM scratch AS unused\nENV A b\nLABEL a=$Q\nFROM scratch as last\nLABEL a=$X\n";
    const { events } = await sandbox.build(text);
    expect(events.flatMap((it) => (it.type === "warning" ? [[it.rule, it.line]] : []))).toEqual([
      ["FromAsCasing", 4],
      ["UndefinedVar", 5],
    ]);
  });

  it("does not begin when the file asks for no warnings and there are some", async () => {
    const text = "# check=error=true\nFROM scratch\nENV A b\nCOPY missing /\n";
    await expect(sandbox.build(text)).rejects.toMatchObject({ code: "CHECK_FAILED", exitCode: 1 });
    const skipped = sandbox.build(text, { buildArgs: ["BUILDKIT_DOCKERFILE_CHECK=skip=all;error=true"] });
    await expect(skipped).rejects.toMatchObject({ code: "COPY_SOURCE_MISSING" });
  });

  it("takes a base image that is there for another platform only, and says so", async () => {
    await sandbox.build("FROM scratch\nENV A=b\n", { tags: ["other"], platforms: ["linux/s390x"] });
    const built = await sandbox.build("FROM other\nLABEL a=$A\n", { platforms: ["linux/arm64"] });
    expect(built.config.architecture).toBe("arm64");
    expect(built.events).toContainEqual({
      type: "warning",
      rule: "InvalidBaseImagePlatform",
      text: 'Base image other was pulled with platform "linux/s390x", expected "linux/arm64" for current build',
      line: 1,
    });
  });

  it("writes an Aegisfile's instructions as labels", async () => {
    sandbox.write({ Aegisfile: 'FROM scratch\nMEMORY 2g\nSECRET KEY env=API_KEY\nCMD ["x"]\n' });
    const built = await sandbox.build("this is not read");
    expect(built.config.config!.Labels).toEqual({
      "dev.aegis.memory": "2g",
      "dev.aegis.secrets": '[{"name":"KEY","env":"API_KEY","required":true}]',
    });
  });
});

describe("outputs", () => {
  it("write the tree as files, as a tar and as one archive that others load", async () => {
    sandbox.write({ "d/f": "x", "d/sub/g": "y" });
    symlinkSync("f", path.join(sandbox.context, "d", "l"));
    chmodSync(path.join(sandbox.context, "d", "sub"), 0o750);
    const at = (name: string) => path.join(sandbox.root, name);
    await sandbox.build("FROM scratch\nCOPY d /d\n", {
      tags: ["out"],
      output: [at("files"), `type=tar,dest=${at("tree.tar")}`, `type=docker,dest=${at("image.tar")}`, "-"],
    });
    expect(readFileSync(at("files/d/sub/g"), "utf8")).toBe("y");
    expect(readlinkSync(at("files/d/l"))).toBe("f");
    expect(statSync(at("files/d/sub")).mode & 0o777).toBe(0o750);
    const names = (file: string) => execFileSync("tar", ["-tf", file], { encoding: "utf8" }).trim().split("\n");
    expect(names(at("tree.tar"))).toEqual(["d/", "d/f", "d/l", "d/sub/", "d/sub/g"]);
    expect(names(at("image.tar"))).toEqual(expect.arrayContaining(["manifest.json", "oci-layout", "index.json"]));
    expect(Buffer.concat(sandbox.sent)).toEqual(readFileSync(at("tree.tar")));
    await expect(sandbox.build("FROM scratch\n", { output: ["type=ftp,dest=x"] })).rejects.toMatchObject({
      code: "USAGE",
    });
  });
});

it("BUILDKIT_MULTI_PLATFORM makes an index and directories of a single platform too", async () => {
  sandbox.write({ a: "1" });
  const output = [`type=local,dest=${path.join(sandbox.root, "out")}`];
  const build = (value: string) =>
    sandbox.build("FROM scratch\nCOPY a /a\n", { output, buildArgs: [`BUILDKIT_MULTI_PLATFORM=${value}`] });
  const index = await build("1");
  expect(index.image.mediaType).toBe("application/vnd.oci.image.index.v1+json");
  expect(readdirSync(path.join(sandbox.root, "out"))).toEqual([formatPlatform(hostPlatform()).replaceAll("/", "_")]);
  const plain = await build("0");
  expect(plain.image.digest).toBe(index.images[0]!.manifest.digest);
  expect(existsSync(path.join(sandbox.root, "out", "a"))).toBe(true);
  await expect(build("maybe")).rejects.toMatchObject({ code: "USAGE" });
});

it("the last image is remembered for its context, and for where it was asked for", async () => {
  const untagged = await sandbox.build("FROM scratch\nLABEL a=b\n");
  const tagged = await sandbox.build("FROM scratch\n", { tags: ["web"] });
  expect(untagged.image.digest).not.toBe(tagged.image.digest);
  for (const directory of [sandbox.context, process.cwd()]) {
    expect(await readLastBuild(sandbox.home, directory)).toEqual({
      image: tagged.image.digest,
      name: "docker.io/library/web:latest",
    });
  }
});

describe("what can go wrong", () => {
  it.each([
    ["FROM scratch\nFETCH x\n", {}, "DOCKERFILE_UNKNOWN_INSTRUCTION"],
    ["FROM Not/AName\n", {}, undefined],
    ["FROM scratch\nCOPY --from=2 / /\n", {}, "DOCKERFILE_STAGE"],
    ["FROM scratch\n", { target: "none" }, "DOCKERFILE_TARGET"],
    ["FROM scratch\nSTOPSIGNAL SIGNOPE\n", {}, "DOCKERFILE_VALUE"],
    ["FROM scratch\nEXPOSE 99999\n", {}, "BAD_PORT"],
    ["FROM scratch\nCOPY --chmod=u:x . /\n", {}, "BAD_MODE"],
  ])("%j %j is a coded error", async (text, flags, code) => {
    const failure = await sandbox.build(text, flags).catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: "AegisError", ...(code === undefined ? {} : { code }) });
  });

  it("a file without end is refused, and so are values that no config should hold", async () => {
    await expect(sandbox.build("", { file: "/dev/zero" })).rejects.toMatchObject({ code: "DOCKERFILE_TOO_LARGE" });
    const labels = Array.from({ length: 5 }, (_, i) => `LABEL a${i}=$A`).join("\n");
    const large = sandbox.build(`FROM scratch\nARG A=${"a".repeat(900_000)}\n${labels}\n`);
    await expect(large).rejects.toMatchObject({ code: "IMAGE_CONFIG_TOO_LARGE" });
  });

  it("a missing file is named with what to do", async () => {
    await expect(sandbox.build("FROM scratch", { file: "/nope" })).rejects.toMatchObject({
      code: "DOCKERFILE_MISSING",
    });
    await expect(sandbox.build("FROM scratch", { path: "/nope" })).rejects.toMatchObject({ code: "CONTEXT_MISSING" });
    mkdirSync(path.join(sandbox.root, "empty"));
    writeFileSync(path.join(sandbox.root, "file"), "");
    const empty = { path: path.join(sandbox.root, "empty") };
    await expect(sandbox.build("FROM scratch", empty)).rejects.toMatchObject({ code: "DOCKERFILE_MISSING" });
  });
});

import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { pruneBuildCache } from "../../../src/build/cache/prune.js";
import { saveLayoutDirectory } from "../../../src/oci/archive/layout.js";
import { openImageStore } from "../../../src/oci/store.js";
import { BuildSandbox } from "../../helpers/build-sandbox.js";
import { git, type SourceServer, serveSources } from "../../helpers/git-server.js";

let origin: BuildSandbox;
let server: SourceServer;
let sandbox: BuildSandbox;
let first: string;

/** One history with a tag, a branch, a submodule and things that a hostile repository would try. */
beforeAll(async () => {
  origin = new BuildSandbox();
  const served = path.join(origin.root, "served");
  mkdirSync(served);
  server = await serveSources(served, {
    special: {
      "/dated": { headers: { "last-modified": "Sat, 03 Feb 2001 04:05:06 GMT", etag: '"1"' } },
      "/said": { headers: { "content-disposition": 'attachment; filename="other"' } },
      "/moved": { status: 302, headers: { location: "/dated" } },
      "/round": { status: 302, headers: { location: "/round" } },
    },
  });
  const at = (...names: string[]) => path.join(origin.root, ...names);
  const write = (name: string, text: string) => {
    mkdirSync(path.dirname(at("work", name)), { recursive: true });
    writeFileSync(at("work", name), text);
  };
  mkdirSync(at("sub"));
  git(at("sub"), "init", "-q", "-b", "main");
  writeFileSync(at("sub", "inner"), "inner\n");
  git(at("sub"), "add", ".");
  git(at("sub"), "commit", "-qm", "inner");
  git(served, "clone", "-q", "--bare", at("sub"), "sub.git");
  mkdirSync(at("work"));
  git(at("work"), "init", "-q", "-b", "main");
  write("Dockerfile", "FROM scratch\nCOPY . /all\n");
  write("dir/Dockerfile", "FROM scratch\nCOPY . /dir\n");
  write("dir/file", "one\n");
  write("run.sh", "#!/bin/sh\n");
  chmodSync(at("work", "run.sh"), 0o755);
  symlinkSync("/etc", at("work", "out"));
  write(".dockerignore", "dir\n");
  git(at("work"), "add", ".");
  git(at("work"), "commit", "-qm", "one");
  git(at("work"), "tag", "v1");
  git(at("work"), "tag", "-am", "annotated", "v1a");
  first = git(at("work"), "rev-parse", "HEAD");
  write("dir/file", "two\n");
  write(".gitmodules", `[submodule "sub"]\n\tpath = sub\n\turl = ../sub.git\n`);
  const inner = git(at("sub"), "rev-parse", "HEAD");
  git(at("work"), "update-index", "--add", "--cacheinfo", `160000,${inner},sub`);
  git(at("work"), "add", ".gitmodules", "dir");
  git(at("work"), "commit", "-qm", "two");
  git(at("work"), "branch", "other", "v1");
  git(served, "clone", "-q", "--bare", at("work"), "app.git");
  for (const name of ["dated", "said"]) writeFileSync(path.join(served, name), "hello\n");
  writeFileSync(path.join(served, "Dockerfile.web"), "FROM scratch\nCOPY context /seen\n");
  execFileSync("tar", ["-C", at("work", "dir"), "--owner=7", "--group=8", "-czf", path.join(served, "ctx.tgz"), "."]);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  origin[Symbol.dispose]();
});
beforeEach(() => {
  sandbox = new BuildSandbox();
});
afterEach(() => sandbox[Symbol.dispose]());

const repository = () => `${server.url}/app.git`;
const countRequests = (match: RegExp) => server.requests.filter((line) => match.test(line)).length;

describe("a context in a git repository", () => {
  it("is the default branch with its submodules, files as git has them, and .dockerignore without a say", async () => {
    const built = await sandbox.build("", { path: repository() });
    expect(await sandbox.layer(built, 0)).toEqual([
      "755 0:0 all/",
      "644 0:0 all/.dockerignore",
      "644 0:0 all/.gitmodules",
      "644 0:0 all/Dockerfile",
      "755 0:0 all/dir/",
      "644 0:0 all/dir/Dockerfile",
      "644 0:0 all/dir/file",
      "777 0:0 all/out -> /etc",
      "755 0:0 all/run.sh",
      "755 0:0 all/sub/",
      "644 0:0 all/sub/.git",
      "644 0:0 all/sub/inner",
    ]);
  });

  it("is a directory of a tag, a branch or a commit, whose Dockerfile is inside or where -f says", async () => {
    const dir = ["755 0:0 dir/", "644 0:0 dir/Dockerfile", "644 0:0 dir/file"];
    for (const word of [
      "#v1:dir",
      "#v1a:dir",
      "?branch=other&subdir=dir",
      `#${first}:dir`,
      `?ref=v1&commit=${first.slice(0, 9)}&subdir=dir`,
    ]) {
      const built = await sandbox.build("", { path: `${repository()}${word}` });
      expect(await sandbox.layer(built, 0), word).toEqual(dir);
    }
    const other = await sandbox.build("", { path: `${repository()}#v1`, file: "dir/Dockerfile" });
    expect((await sandbox.layer(other, 0)).at(0)).toBe("755 0:0 dir/");
    const given = await sandbox.build("FROM scratch\nCOPY dir/file /f\n", {
      path: `${repository()}#v1`,
      file: path.join(sandbox.context, "Dockerfile"),
    });
    expect(await sandbox.layer(given, 0)).toEqual(["644 0:0 f"]);
  });

  it("keeps its .git when the build argument asks for it", async () => {
    const built = await sandbox.build("", {
      path: `${repository()}#v1`,
      buildArgs: ["BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"],
    });
    const names = (await sandbox.layer(built, 0)).map((line) => line.split(" ").at(-1));
    expect(names).toEqual(expect.arrayContaining(["all/.git/HEAD", "all/.git/config", "all/.git/shallow"]));
    expect(names).not.toContain("all/.git/FETCH_HEAD");
  });

  it("is fetched once for each commit, and a commit by name needs no server at all", async () => {
    const context = `${repository()}#${first}:dir`;
    await sandbox.build("", { path: context });
    const before = server.requests.length;
    const again = await sandbox.build("", { path: context });
    expect(again.ran).toEqual([]);
    expect(server.requests.length).toBe(before);
    await pruneBuildCache(sandbox.home);
    const left = readdirSync(path.join(sandbox.home.cache, "git"));
    expect(left.filter((name) => !name.endsWith(".lock"))).toEqual([]);
  });

  it("sends a token to its own host, and to no other", async () => {
    const { host } = new URL(server.url);
    await sandbox.build(
      "",
      { path: `${repository()}#v1:dir`, secrets: [`id=GIT_AUTH_TOKEN.${host},env=T`] },
      { T: "s3cret\n" },
    );
    expect(server.authorization()).toBe(`basic ${Buffer.from("x-access-token:s3cret").toString("base64")}`);
  });

  it.each([
    ["#nope", "GIT_REF_MISSING"],
    ["#v1:nope", "GIT_DIRECTORY_MISSING"],
    ["#v1:out", "GIT_DIRECTORY_MISSING"],
    ["#v1:run.sh", "GIT_DIRECTORY_MISSING"],
    ["?ref=v1&commit=0123", "GIT_CHECKSUM"],
    ["/nope.git", "GIT_FAILED"],
  ])("%s is the coded error %s", async (suffix, code) => {
    await expect(sandbox.build("", { path: `${repository()}${suffix}`.replace("app.git/", "") })).rejects.toMatchObject(
      {
        code,
        hint: expect.any(String),
      },
    );
    expect(readdirSync(path.join(sandbox.home.cache, "git")).filter((name) => name.startsWith(".tmp"))).toEqual([]);
  });

  it("says so when git is missing", async () => {
    const before = process.env.PATH;
    process.env.PATH = sandbox.root;
    try {
      await expect(sandbox.build("", { path: repository() })).rejects.toMatchObject({ code: "GIT_MISSING" });
    } finally {
      process.env.PATH = before;
    }
  });
});

describe("ADD of a repository", () => {
  it("puts a directory of it where it is asked to, owned and with modes as told", async () => {
    const built = await sandbox.build(
      `FROM scratch\nADD --chown=5:6 --chmod=640 --exclude=Dockerfile ${repository()}#v1:dir /x/\nADD ${repository()}#other:dir /y\n`,
    );
    expect(await sandbox.layer(built, 0)).toEqual(["640 5:6 x/", "640 5:6 x/file"]);
    expect(await sandbox.layer(built, 1)).toEqual(["755 0:0 y/", "644 0:0 y/Dockerfile", "644 0:0 y/file"]);
  });

  it("is known by its commit: another ref of the same one is a hit", async () => {
    await sandbox.build(`FROM scratch\nADD ${repository()}#v1:dir /x/\n`);
    const again = await sandbox.build(`FROM scratch\nADD ${repository()}?tag=v1a&subdir=dir /x/\n`);
    expect(again.ran).toEqual([]);
    const newer = await sandbox.build(`FROM scratch\nADD ${repository()}#main:dir /x/\n`);
    expect(newer.ran).toHaveLength(1);
  });

  it("takes a commit as its checksum, and refuses another", async () => {
    await sandbox.build(`FROM scratch\nADD --checksum=${first} ${repository()}#v1:dir /x/\n`);
    for (const sum of ["0000000", `sha256:${"0".repeat(64)}`]) {
      const built = sandbox.build(`FROM scratch\nADD --checksum=${sum} ${repository()}#v1 /x/\n`);
      await expect(built).rejects.toMatchObject({ code: "GIT_CHECKSUM" });
    }
  });

  it("COPY refuses it", async () => {
    await expect(sandbox.build(`FROM scratch\nCOPY ${repository()} /x\n`)).rejects.toMatchObject({
      code: "COPY_REMOTE",
    });
  });
});

describe("ADD of a web address", () => {
  it("takes the name from the address, the time from the server, and mode 600", async () => {
    const built = await sandbox.build(
      `FROM scratch\nADD ${server.url}/dated?x=1 ${server.url}/said ${server.url}/moved /d/\nADD ${server.url}/dated /f\n`,
    );
    expect(await sandbox.layer(built, 0)).toEqual([
      "755 0:0 d/",
      "600 0:0 d/dated",
      "600 0:0 d/moved",
      "600 0:0 d/said",
    ]);
    expect(await sandbox.layer(built, 1)).toEqual(["600 0:0 f"]);
  });

  it("puts sources down in the order in which they are named", async () => {
    const built = await sandbox.build(`FROM scratch\nADD ${server.url}/dated Dockerfile /x\n`);
    expect(await sandbox.layer(built, 0)).toEqual(["644 0:0 x"]);
  });

  it("unpacks an archive only when told to", async () => {
    const kept = await sandbox.build(`FROM scratch\nADD ${server.url}/ctx.tgz /d/\n`);
    expect(await sandbox.layer(kept, 0)).toEqual(["755 0:0 d/", "600 0:0 d/ctx.tgz"]);
    const unpacked = await sandbox.build(`FROM scratch\nADD --unpack ${server.url}/ctx.tgz /d/\n`);
    expect(await sandbox.layer(unpacked, 0)).toEqual(["755 0:0 d/", "644 7:8 d/Dockerfile", "644 7:8 d/file"]);
  });

  it("asks again by etag and takes the cached step", async () => {
    const text = `FROM scratch\nADD ${server.url}/dated /d/\n`;
    await sandbox.build(text);
    const asked = countRequests(/dated/);
    expect((await sandbox.build(text)).ran).toEqual([]);
    expect(countRequests(/dated/)).toBe(asked + 1);
  });

  it.each([
    ["/nope", "DOWNLOAD_FAILED"],
    ["/round", "DOWNLOAD_FAILED"],
  ])("%s fails as %s", async (name, code) => {
    await expect(sandbox.build(`FROM scratch\nADD ${server.url}${name} /x\n`)).rejects.toMatchObject({ code });
  });

  it("refuses checksums of other kinds, and checksums of what is not remote", async () => {
    for (const words of [`--checksum=md5:00 ${server.url}/dated`, `--checksum=sha256:${"0".repeat(64)} Dockerfile`]) {
      await expect(sandbox.build(`FROM scratch\nADD ${words} /x\n`)).rejects.toMatchObject({
        code: "CHECKSUM_UNSUPPORTED",
      });
    }
  });
});

describe("a context in an archive", () => {
  it.each(["", "z", "j", "J", "zstd"])("is unpacked with its owners: tar %s", async (packing) => {
    sandbox.write({ "in/Dockerfile": "FROM scratch\nCOPY . /c\n", "in/f": "f", "in/.dockerignore": "f\n" });
    const file = path.join(sandbox.root, "context.tar");
    const flag = packing === "zstd" ? ["--zstd", "-cf"] : [`-c${packing}f`];
    execFileSync("tar", ["-C", path.join(sandbox.context, "in"), "--owner=7", "--group=8", ...flag, file, "."]);
    const built = await sandbox.build("", { path: file });
    expect(await sandbox.layer(built, 0)).toEqual([
      "755 0:0 c/",
      "644 7:8 c/.dockerignore",
      "644 7:8 c/Dockerfile",
      "644 7:8 c/f",
    ]);
  });

  it("comes from the web, as does a Dockerfile, which is then all that its context has", async () => {
    const packed = await sandbox.build("", { path: `${server.url}/ctx.tgz` });
    expect(await sandbox.layer(packed, 0)).toEqual(["755 0:0 dir/", "644 7:8 dir/Dockerfile", "644 7:8 dir/file"]);
    const lone = await sandbox.build("", { path: `${server.url}/Dockerfile.web` });
    expect(await sandbox.layer(lone, 0)).toEqual(["600 0:0 seen"]);
    sandbox.write({ context: "of the directory" });
    const file = await sandbox.build("", { file: `${server.url}/Dockerfile.web` });
    expect(await sandbox.layer(file, 0)).toEqual(["644 0:0 seen"]);
  });

  it("stays inside whatever the archive says", async () => {
    sandbox.write({ "in/Dockerfile": "FROM scratch\nCOPY . /c\n", "in/real": "x" });
    symlinkSync("/etc", path.join(sandbox.context, "in", "way"));
    const archive = (name: string) => {
      const file = path.join(sandbox.root, "context.tar");
      const from = ["-C", path.join(sandbox.context, "in")];
      execFileSync("tar", [...from, "-cf", file, "Dockerfile", "way"]);
      execFileSync("tar", ["-P", ...from, `--transform=s,^real,${name},`, "-rf", file, "real"]);
      return file;
    };
    const built = await sandbox.build("", { path: archive("way/passwd") });
    expect((await sandbox.layer(built, 0)).map((line) => line.split(" ").slice(2).join(" "))).toEqual([
      "c/",
      "c/Dockerfile",
      "c/etc/",
      "c/etc/passwd",
      "c/way -> /etc",
    ]);
    await expect(sandbox.build("", { path: archive("../../up") })).rejects.toMatchObject({ code: "TAR_CORRUPT" });
  });

  it("a file that is none is refused", async () => {
    sandbox.write({ text: "nothing" });
    await expect(sandbox.build("", { path: path.join(sandbox.context, "text") })).rejects.toMatchObject({
      code: "CONTEXT_INVALID",
    });
  });
});

describe("--build-context", () => {
  it("is a directory, a repository, an archive or a layout, for COPY --from and FROM", async () => {
    sandbox.write({ "other/a": "a", "other/.dockerignore": "skip\n", "other/skip": "" });
    const stored = await sandbox.build("FROM scratch\nCOPY other/a /in-layout\n", { tags: ["x:1"] });
    const layout = path.join(sandbox.root, "layout");
    const store = await openImageStore(sandbox.home.images);
    await saveLayoutDirectory(store, ["x:1"], { directory: layout, name: "one" });
    await store.close();
    const contexts = [
      `here=${path.join(sandbox.context, "other")}`,
      `repo=${repository()}#v1:dir`,
      `packed=${server.url}/ctx.tgz`,
      `tagged=oci-layout://${layout}:one`,
      `exact=oci-layout://${layout}:other@${stored.imageId}`,
    ];
    const built = await sandbox.build(
      "FROM scratch\nCOPY --from=here / /1\nCOPY --from=repo / /2\nCOPY --from=packed / /3\nCOPY --from=exact / /4\n",
      { buildContexts: contexts },
    );
    expect(await sandbox.layer(built, 0)).toEqual(["755 0:0 1/", "644 0:0 1/.dockerignore", "644 0:0 1/a"]);
    expect(await sandbox.layer(built, 1)).toEqual(["755 0:0 2/", "644 0:0 2/Dockerfile", "644 0:0 2/file"]);
    expect(await sandbox.layer(built, 2)).toEqual(["755 0:0 3/", "644 7:8 3/Dockerfile", "644 7:8 3/file"]);
    expect(await sandbox.layer(built, 3)).toEqual(["755 0:0 4/", "644 0:0 4/in-layout"]);
    for (const [name, files] of [
      ["tagged", ["644 0:0 in-layout"]],
      ["here", ["644 0:0 .dockerignore", "644 0:0 a"]],
      ["docker.io/library/repo:latest", ["644 0:0 Dockerfile", "644 0:0 file"]],
    ] as const) {
      const based = await sandbox.build(`FROM ${name}\nCOPY Dockerfile /D\n`, { buildContexts: contexts });
      expect(await sandbox.layer(based, 0)).toEqual(files);
      expect(await sandbox.layer(based, 1)).toEqual(["644 0:0 D"]);
    }
  });

  it("takes the place of a stage of its name, whose steps and bases are then not needed", async () => {
    sandbox.write({ "other/a": "a" });
    const built = await sandbox.build(
      "FROM no.such.host/x AS base\nCOPY nope /\nFROM scratch\nCOPY --from=base / /1\nCOPY --from=0 / /2\n",
      { buildContexts: [`base=${path.join(sandbox.context, "other")}`] },
    );
    expect(await sandbox.layer(built, 0)).toEqual(["755 0:0 1/", "644 0:0 1/a"]);
    expect(await sandbox.layer(built, 1)).toEqual(["755 0:0 2/", "644 0:0 2/a"]);
  });

  it.each([
    ["name=target:x", "USAGE"],
    ["name", "USAGE"],
    ["Name=.", "BAD_REFERENCE"],
    ["name=/nonexistent", "CONTEXT_MISSING"],
    ["name=what://x", "CONTEXT_MISSING"],
  ])("%s is refused as %s", async (word, code) => {
    await expect(sandbox.build("FROM scratch\n", { buildContexts: [word] })).rejects.toMatchObject({ code });
  });
});

describe("standard input", () => {
  it("holds a tar or a Dockerfile, told by how it begins", async () => {
    const { buildInput } = await import("../../../src/cli/input.js");
    sandbox.write({ Dockerfile: "FROM scratch\n" });
    const tar = execFileSync("tar", ["-C", sandbox.context, "-cz", "."]);
    expect(Object.keys(await buildInput("either", Readable.from([tar])))).toEqual(["archive"]);
    const text = await buildInput("either", Readable.from([Buffer.from("FROM "), Buffer.from("scratch\n")]));
    expect(Buffer.from(text.text!).toString()).toBe("FROM scratch\n");
    expect(await buildInput(undefined, Readable.from([]))).toEqual({});
  });
});

import { chmodSync, linkSync, symlinkSync, utimesSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BuildSandbox } from "../../helpers/build-sandbox.js";

let sandbox: BuildSandbox;
beforeEach(() => {
  sandbox = new BuildSandbox();
});
afterEach(() => sandbox[Symbol.dispose]());

const people = {
  "root/etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
  "root/etc/group": "root:x:0:\nweb:x:10:app\n",
};

describe("COPY", () => {
  it("puts files into a directory that ends in a slash and makes what leads there", async () => {
    sandbox.write({ "a.txt": "a" });
    const built = await sandbox.build("FROM scratch\nCOPY a.txt /srv/www/\n");
    expect(await sandbox.layer(built, 0)).toEqual(["755 0:0 srv/", "755 0:0 srv/www/", "644 0:0 srv/www/a.txt"]);
  });

  it("gives a directory's contents, with modes, links and hard links", async () => {
    sandbox.write({ "d/f": "x", "d/sub/g": "y" });
    const at = (name: string) => path.join(sandbox.context, "d", name);
    chmodSync(at("sub"), 0o700);
    chmodSync(at("f"), 0o4750);
    symlinkSync("../etc/passwd", at("link"));
    linkSync(at("f"), at("twin"));
    const built = await sandbox.build("FROM scratch\nCOPY d /t\n");
    expect(await sandbox.layer(built, 0)).toEqual([
      "755 0:0 t/",
      "4750 0:0 t/f",
      "777 0:0 t/link -> ../etc/passwd",
      "700 0:0 t/sub/",
      "644 0:0 t/sub/g",
      "4750 0:0 t/twin = t/f",
    ]);
  });

  it("follows a link that is named, and links in the destination, inside the root only", async () => {
    sandbox.write({ real: "x", "root/opt/": "" });
    symlinkSync("real", path.join(sandbox.context, "named"));
    symlinkSync("../../../../opt", path.join(sandbox.context, "root", "lnk"));
    const built = await sandbox.build("FROM scratch\nCOPY root /\nCOPY named /lnk/\n");
    expect(await sandbox.layer(built, 1)).toEqual(["755 0:0 opt/", "644 0:0 opt/named"]);
  });

  it("takes names from the stage's own passwd and group for --chown", async () => {
    sandbox.write({ ...people, f: "" });
    const built = await sandbox.build(
      "FROM scratch\nCOPY root /\nCOPY --chown=app f /a/1\nCOPY --chown=:web f /2\nCOPY --chown=55 f /3\nCOPY --chown=7:web f /4\n",
    );
    expect(await sandbox.layer(built, 1)).toEqual(["755 1000:1001 a/", "644 1000:1001 a/1"]);
    expect(await sandbox.layer(built, 2)).toEqual(["644 0:10 2"]);
    expect(await sandbox.layer(built, 3)).toEqual(["644 55:55 3"]);
    expect(await sandbox.layer(built, 4)).toEqual(["644 7:10 4"]);
    await expect(sandbox.build("FROM scratch\nCOPY --chown=nobody root /\n")).rejects.toMatchObject({
      code: "USER_UNKNOWN",
    });
  });

  it("applies --chmod in octal to parents too, and symbolic modes only to what is copied", async () => {
    sandbox.write({ "d/f": "" });
    chmodSync(path.join(sandbox.context, "d"), 0o755);
    const octal = await sandbox.build("FROM scratch\nCOPY --chmod=600 d /m/n/\n");
    expect(await sandbox.layer(octal, 0)).toEqual(["600 0:0 m/", "600 0:0 m/n/", "600 0:0 m/n/f"]);
    const symbolic = await sandbox.build("FROM scratch\nCOPY --chmod=u+x,go-rwx d /m/n/\n");
    expect(await sandbox.layer(symbolic, 0)).toEqual(["755 0:0 m/", "755 0:0 m/n/", "700 0:0 m/n/f"]);
  });

  it("copies nothing when a wildcard matches nothing, and fails for a name that isn't there", async () => {
    sandbox.write({ ".hidden": "", "a.txt": "", "b.md": "" });
    const built = await sandbox.build("FROM scratch\nCOPY *.rs /x/\nCOPY *.txt *hid* /y/\n");
    expect(await sandbox.layer(built, 0)).toEqual([]);
    expect(await sandbox.layer(built, 1)).toEqual(["755 0:0 y/", "644 0:0 y/.hidden", "644 0:0 y/a.txt"]);
    await expect(sandbox.build("FROM scratch\nCOPY nope /\n")).rejects.toMatchObject({ code: "COPY_SOURCE_MISSING" });
  });

  it("leaves out what .dockerignore names, which is then missing", async () => {
    sandbox.write({ ".dockerignore": "secret\nd/*\n!d/keep\n", secret: "", "d/drop": "", "d/keep": "" });
    const built = await sandbox.build("FROM scratch\nCOPY d /d\n");
    expect(await sandbox.layer(built, 0)).toEqual(["755 0:0 d/", "644 0:0 d/keep"]);
    await expect(sandbox.build("FROM scratch\nCOPY secret /\n")).rejects.toMatchObject({ code: "COPY_SOURCE_MISSING" });
  });

  it("writes no entry for a file that is there already, the same in everything", async () => {
    sandbox.write({ f: "same" });
    utimesSync(path.join(sandbox.context, "f"), 1_000_000, 1_000_000);
    const built = await sandbox.build("FROM scratch\nCOPY f /f\nCOPY f /f\n");
    expect(await sandbox.layer(built, 1)).toEqual([]);
  });

  it("refuses a file over a directory and a directory over a file", async () => {
    sandbox.write({ f: "", "d/x": "" });
    await expect(sandbox.build("FROM scratch\nCOPY d /a/b\nCOPY f /a/b/x\nCOPY d /a/b/x\n")).rejects.toMatchObject({
      code: "NOT_A_DIRECTORY",
    });
    sandbox.write({ "e/x/y": "" });
    await expect(sandbox.build("FROM scratch\nCOPY e /a\nCOPY d /a\n")).rejects.toMatchObject({
      code: "COPY_OVER_DIRECTORY",
    });
  });

  it("with --link makes the parents anew, whatever is below", async () => {
    sandbox.write({ f: "", "root/real/": "" });
    symlinkSync("real", path.join(sandbox.context, "root", "lnk"));
    const built = await sandbox.build("FROM scratch\nCOPY root /\nCOPY --link f /lnk/z\n");
    expect(await sandbox.layer(built, 1)).toEqual(["755 0:0 lnk/", "644 0:0 lnk/z"]);
  });

  it("with --parents keeps the directories that lead to a file, from the pivot on, and ** crosses them", async () => {
    sandbox.write({ "a/b/c.txt": "", "a/b/d.md": "", "a/e/f/g.txt": "", "top.txt": "" });
    chmodSync(path.join(sandbox.context, "a", "b"), 0o700);
    const plain = await sandbox.build("FROM scratch\nCOPY --parents a/b/c.txt top.txt /x/\n");
    expect(await sandbox.layer(plain, 0)).toEqual([
      "755 0:0 x/",
      "755 0:0 x/a/",
      "700 0:0 x/a/b/",
      "644 0:0 x/a/b/c.txt",
      "644 0:0 x/top.txt",
    ]);
    const pivot = await sandbox.build("FROM scratch\nCOPY --parents a/./b/c.txt a/./e /x\n");
    expect(await sandbox.layer(pivot, 0)).toEqual([
      "755 0:0 x/",
      "700 0:0 x/b/",
      "644 0:0 x/b/c.txt",
      "755 0:0 x/e/",
      "755 0:0 x/e/f/",
      "644 0:0 x/e/f/g.txt",
    ]);
    const deep = await sandbox.build("FROM scratch\nCOPY --parents **/*.txt /\n");
    expect((await sandbox.layer(deep, 0)).filter((line) => line.endsWith("txt"))).toEqual([
      "644 0:0 a/b/c.txt",
      "644 0:0 a/e/f/g.txt",
      "644 0:0 top.txt",
    ]);
  });

  it("writes heredocs, with variables unless the name is quoted", async () => {
    const built = await sandbox.build('FROM scratch\nARG A=1\nCOPY <<x <<"y" /h/\n$A\nx\n$A\ny\n');
    expect(await sandbox.layer(built, 0)).toEqual(["755 0:0 h/", "644 0:0 h/x", "644 0:0 h/y"]);
  });

  it("from another stage keeps owners, and builds only the stages that are needed", async () => {
    sandbox.write({ f: "" });
    const built = await sandbox.build(
      "FROM scratch AS one\nCOPY --chown=3:4 f /in/f\nFROM scratch AS broken\nCOPY nope /\nFROM scratch\nCOPY --from=one /in /out\n",
    );
    expect(await sandbox.layer(built, 0)).toEqual(["755 0:0 out/", "644 3:4 out/f"]);
  });
});

import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBaseImage } from "../../../scripts/base-images.mjs";
import { baseImage } from "../../helpers/base-images.js";

const run = promisify(execFile);
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), "aegis-test-"));
});
afterAll(async () => await rm(scratch, { recursive: true, force: true }));

async function listing(tarball: string): Promise<string[]> {
  const { stdout } = await run("tar", ["--utc", "--full-time", "-tvf", tarball], { maxBuffer: 1 << 26 });
  return stdout.trim().split("\n");
}

describe("base images", () => {
  it("the busybox one has the same bytes whoever builds it", async () => {
    const [one, two] = await Promise.all(
      ["one", "two"].map(
        async (name) => await ensureBaseImage("busybox:latest", { cacheDir: path.join(scratch, name) }),
      ),
    );
    expect((await readFile(one!)).equals(await readFile(two!))).toBe(true);
    const names = await listing(one!);
    expect(names.some((line) => line.endsWith("bin/sh link to bin/busybox"))).toBe(true);
  });

  it("is built once for many that ask, and nothing half-done stays", async () => {
    const cacheDir = path.join(scratch, "shared");
    const paths = await Promise.all([1, 2, 3].map(async () => await ensureBaseImage("busybox:latest", { cacheDir })));
    expect(new Set(paths).size).toBe(1);
    expect((await readdir(cacheDir)).sort()).toEqual(["busybox-latest.lock", path.basename(paths[0]!)].sort());
  });

  it("the Debian one has Node.js and npm, certificates, apt's sources, and nothing of this machine", async () => {
    const names = await listing(await baseImage("debian-node:22"));
    const has = (pattern: RegExp) => names.some((line) => pattern.test(line));
    expect(has(/\.\/usr\/local\/bin\/node$/)).toBe(true);
    expect(has(/\.\/usr\/local\/bin\/npm -> /)).toBe(true);
    expect(has(/\.\/etc\/ssl\/certs\/ca-certificates\.crt$/)).toBe(true);
    expect(has(/\.\/etc\/apt\/sources\.list(?:\.d\/\S+)?$/)).toBe(true);
    expect(has(/\.\/etc\/(?:hostname|resolv\.conf)$/)).toBe(false);
    expect(has(/\.\/usr\/share\/doc\/./)).toBe(false);
    const latest = names
      .map((line) => /\d{4}-\d\d-\d\d/.exec(line)?.[0] ?? "")
      .sort()
      .at(-1);
    expect(latest).toBe("2024-01-01");
  });

  it("a name that nobody makes is an error that says what there is", async () => {
    await expect(ensureBaseImage("fedora:41", { cacheDir: scratch })).rejects.toMatchObject({ code: "NO_SUCH_BASE" });
  });
});

import { copyFileSync, existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BuildSandbox } from "../helpers/build-sandbox.js";
import {
  buildSurroundings,
  expectedSurroundings,
  prepareSurroundings,
  sortedListing,
} from "../helpers/step-surroundings.js";

let sandbox: BuildSandbox;
beforeEach(() => {
  sandbox = new BuildSandbox();
  const bin = path.join(sandbox.context, "root", "bin");
  mkdirSync(bin, { recursive: true });
  copyFileSync("/bin/busybox", path.join(bin, "busybox"));
  for (const applet of ["sh", "cat", "mkdir", "rm", "touch", "id", "ln", "mv", "chmod", "chown", "mknod", "mkfifo"]) {
    symlinkSync("busybox", path.join(bin, applet));
  }
  sandbox.write({
    "root/etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
    "root/etc/group": "root:x:0:\nweb:x:10:app\n",
  });
});
afterEach(() => sandbox[Symbol.dispose]());

describe("a RUN in a microVM", () => {
  it("makes the same layers as in a container, digest for digest, and a failing one tells its exit code", async () => {
    const text = `FROM scratch
COPY root /
RUN --mount=type=secret,id=k --mount=type=cache,target=/deep/cache --mount=type=bind,source=root/etc,target=/b,rw \
  cat /run/secrets/k && touch /deep/cache/x /b/y && mkdir /d && echo a >/d/a && echo b >/d/b && ln /d/b /d/c && ln -s a /d/l \
  && mknod /d/n c 1 3 && mkfifo /d/p && chown 5:6 /d/a && echo x >>/etc/passwd
RUN rm /d/a && mv /d /e && rm -rf /e && mkdir /d && echo z >/d/z && touch /etc/gone && rm /etc/gone
USER app
WORKDIR /w
RUN id -un && echo mine >f && chmod 600 f
`;
    const env = { SOURCE_DATE_EPOCH: "1700000000", K: "s3cret" };
    const flags = { noCache: true, secrets: ["id=k,env=K"] };
    const inMachine = await sandbox.build(text, { ...flags, isolation: "vm" }, env);
    const inContainer = await sandbox.build(text, { ...flags, isolation: "container" }, env);
    expect(inMachine.output).toBe(inContainer.output);
    expect(inMachine.config.rootfs.diff_ids).toEqual(inContainer.config.rootfs.diff_ids);
    expect(inMachine.imageId).toBe(inContainer.imageId);

    const failing = sandbox.build("FROM scratch\nCOPY root /\nRUN echo why >&2; exit 9\n", { isolation: "vm" }, env);
    await expect(failing).rejects.toMatchObject({
      code: "RUN_FAILED",
      details: { exitCode: 9 },
      context: expect.stringContaining("why"),
    });
    expect(readdirSync(sandbox.home.tmp)).toEqual([]);
    expect(existsSync(sandbox.home.sockets)).toBe(false);
  });

  it("gives caches their beginnings, and the step its groups, tmpfs, agent and secrets, as in a container", async () => {
    prepareSurroundings(sandbox);
    for (const n of [1, 2] as const) {
      const built = await buildSurroundings(sandbox, "vm", n);
      expect(sortedListing(built.output)).toBe(expectedSurroundings[n]);
    }
  });
});

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BuildSandbox, noFlags } from "../../helpers/build-sandbox.js";
import { writeBusybox } from "../../helpers/busybox-tree.js";
import {
  buildSurroundings,
  expectedSurroundings,
  prepareSurroundings,
  sortedListing,
} from "../../helpers/step-surroundings.js";

/** RUN steps in containers: needs root, runc, loop devices and overlay mounts. */

let sandbox: BuildSandbox;
beforeEach(() => {
  sandbox = new BuildSandbox();
  writeBusybox(path.join(sandbox.context, "root"));
});
afterEach(() => sandbox[Symbol.dispose]());

const base = "FROM scratch\nCOPY root /\n";
const container = { isolation: "container" };

describe("a RUN in a container", () => {
  it("leaves exactly what it changed: additions, removals, links, devices, modes", async () => {
    const built = await sandbox.build(
      `${base}RUN mkdir /d && echo a >/d/a && echo b >/d/b && ln /d/b /d/c && ln -s a /d/l && mknod /d/n c 1 3 && chown 5:6 /d/a
RUN rm /d/a && chmod 600 /d/b && echo x >/d/new
RUN rm -rf /d && mkdir /d && echo z >/d/z
RUN touch /d/gone && rm /d/gone && chmod 700 /d/z && chmod 644 /d/z
`,
      container,
    );
    expect(await sandbox.layer(built, 1)).toEqual([
      "755 0:0 dev/",
      "755 0:0 proc/",
      "755 0:0 sys/",
      "755 0:0 d/",
      "644 5:6 d/a",
      "644 0:0 d/b",
      "644 0:0 d/c = d/b",
      "777 0:0 d/l -> a",
      "644 0:0 d/n",
    ]);
    expect((await sandbox.layer(built, 2)).map(withoutMode)).toEqual(
      ["d/", "d/.wh.a", "d/b", "d/new"].map((it) => `0:0 ${it}`),
    );
    expect((await sandbox.layer(built, 3)).at(-1)).toBe("644 0:0 d/z");
    expect(await sandbox.layer(built, 4)).toEqual([]);
  });

  it("sees its user, environment, arguments and working directory, and a shell of its own", async () => {
    sandbox.write({
      "root/etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
      "root/etc/group": "root:x:0:\nweb:x:10:app\n",
    });
    const built = await sandbox.build(
      `${base}ARG FOO=bar\nENV A=1\nWORKDIR /w\nUSER app\nSHELL ["/bin/sh", "-ec"]\nRUN id; pwd; echo $FOO $A $HOME $0; cat /proc/self/status\n`,
      container,
    );
    expect(built.output).toContain("uid=1000(app) gid=1001 groups=10(web),1001");
    expect(built.output).toContain("\n/w\nbar 1 /home/app /bin/sh\n");
    expect(built.output).toMatch(/NSpid:\s+\d+\n/);
    expect(built.output).toMatch(/CapBnd:\s+00000000a80425fb/);
  });

  it("runs heredocs: as a script for the shell, for its own interpreter, or left to the shell", async () => {
    const built = await sandbox.build(
      `${base}RUN <<EOF\necho one\necho two\nEOF\nRUN <<EOF\n#!/bin/sh\necho three $0\nEOF\nRUN cat <<EOF | cat\nfour\nEOF\n`,
      container,
    );
    expect(built.output).toBe("one\ntwo\nthree /dev/pipes/EOF\nfour\n");
  });

  it("that fails tells the step, its line, the exit code and the last lines, and leaves no image", async () => {
    const failing = sandbox.build(`${base}RUN echo before; echo why >&2; exit 7\n`, { ...container, tags: ["x"] });
    await expect(failing).rejects.toMatchObject({
      code: "RUN_FAILED",
      exitCode: 1,
      details: { exitCode: 7, line: 3 },
      context: expect.stringMatching(/why[\s\S]*> 3 \| RUN echo before/),
    });
    await expect(sandbox.build("FROM x\n")).rejects.toThrow();
  });

  it("may neither mount nor make namespaces, and has the limits and hosts that it was given", async () => {
    const built = await sandbox.build(
      `${base}RUN ulimit -n; ulimit -c; unshare -U true; echo unshare=$?; mount -t tmpfs x /tmp; echo mount=$?; grep Seccomp: /proc/self/status; grep shm /proc/mounts; cat /etc/hosts\n`,
      {
        ...container,
        ulimits: ["nofile=100:200", "core=unlimited"],
        shmSize: "3m",
        addHost: ["db=10.1.2.3", "me:host-gateway"],
        network: "host",
      },
    );
    expect(built.output).toMatch(/^100\nunlimited\n/m);
    expect(built.output).toContain("unshare=1\n");
    expect(built.output).toMatch(/mount=[1-9]/);
    expect(built.output).toMatch(/Seccomp:\s+2\n/);
    expect(built.output).toContain("size=3072k");
    expect(built.output).toContain("10.1.2.3\tdb\n127.0.0.1\tme\n");
  });

  it("is privileged, or on the host's network, only when the build allows it", async () => {
    const insecure = `${base}RUN --security=insecure mkdir -p /m && mount -t tmpfs x /m && grep Seccomp: /proc/self/status\n`;
    await expect(sandbox.build(insecure, container)).rejects.toMatchObject({ code: "NOT_ALLOWED", exitCode: 1 });
    const allowed = await sandbox.build(insecure, { ...container, allow: ["security.insecure"] });
    expect(allowed.output).toMatch(/Seccomp:\s+0\n/);
    const host = `${base}RUN --network=host readlink /proc/self/ns/net\n`;
    await expect(sandbox.build(host, container)).rejects.toMatchObject({ message: "network.host is not allowed" });
    const built = await sandbox.build(host, { ...container, allow: ["network.host"] });
    expect(built.output.trim()).toBe(readlinkSync("/proc/self/ns/net"));
  });

  it("that names a program that isn't there says so", async () => {
    const failing = sandbox.build(`${base}RUN ["/bin/nope"]\n`, container);
    await expect(failing).rejects.toMatchObject({ code: "RUN_FAILED", message: expect.stringContaining("/bin/nope") });
  });

  it("can be cancelled, and takes everything with it", async () => {
    const { buildImage } = await import("../../../src/build/build.js");
    const { buildRequest } = await import("../../../src/build/request.js");
    sandbox.write({ Dockerfile: `${base}RUN echo started; cat /dev/zero >/dev/null\n` });
    const abort = new AbortController();
    const { request } = buildRequest(
      { ...noFlags, ...container, path: sandbox.context },
      {},
      { stdout: async () => undefined },
    );
    const building = buildImage(sandbox.home, { ...request, signal: abort.signal }, (event) => {
      if (event.type === "output") abort.abort();
    });
    await expect(building).rejects.toMatchObject({ name: "AbortError" });
    expect(readdirSync(sandbox.home.tmp)).toEqual([]);
    // The kernel takes the namespace down after its last process has gone.
    await vi.waitFor(() => expect(loopDevices()).not.toContain(sandbox.root), { timeout: 20_000 });
  });

  it("leaves no mounts, loop devices or temporary files", async () => {
    await sandbox.build(`${base}RUN touch /x\nRUN touch /y\n`, container);
    expect(loopDevices()).not.toContain(sandbox.root);
    expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(sandbox.root);
    expect(readdirSync(sandbox.home.tmp)).toEqual([]);
  });
});

describe("RUN --mount", () => {
  it("bind shows the context, another stage or one file, and forgets what is written to it", async () => {
    sandbox.write({ "src/a": "from context\n", "src/deep/b": "" });
    const built = await sandbox.build(
      `FROM scratch AS made
COPY root /
RUN mkdir /made && echo stage >/made/f
FROM scratch
COPY root /
RUN --mount=type=bind,source=src,target=/ctx,rw --mount=type=bind,from=made,source=/made,target=/st --mount=type=bind,source=src/a,target=/one cat /ctx/a /st/f /one && echo x >/ctx/new && ls /ctx
`,
      container,
    );
    expect(built.output).toBe("from context\nstage\nfrom context\na\ndeep\nnew\n");
    expect(await sandbox.layer(built, 1)).toEqual(["755 0:0 dev/", "755 0:0 proc/", "755 0:0 sys/"]);
    expect(readdirSync(path.join(sandbox.context, "src"))).toEqual(["a", "deep"]);
  });

  it("gives caches their beginnings, and the step its groups, tmpfs, agent and secrets", async () => {
    prepareSurroundings(sandbox);
    for (const n of [1, 2] as const) {
      const built = await buildSurroundings(sandbox, "container", n);
      expect(sortedListing(built.output)).toBe(expectedSurroundings[n]);
    }
  });

  it("cache keeps its content between builds and out of the layer", async () => {
    const text = (n: number) => `${base}RUN --mount=type=cache,target=/c echo ${n} >>/c/log && cat /c/log\n`;
    await sandbox.build(text(1), container);
    const second = await sandbox.build(text(2), container);
    expect(second.output).toBe("1\n2\n");
    expect(await sandbox.layer(second, 1)).toEqual(["755 0:0 dev/", "755 0:0 proc/", "755 0:0 sys/"]);
  });

  it("secret gives a file or a variable, in no layer, no key and no file of the home", async () => {
    const text = `${base}RUN --mount=type=secret,id=k --mount=type=secret,id=k,env=K stat -c %a /run/secrets/k; cat /run/secrets/k; echo; echo $K\n`;
    const first = await sandbox.build(text, { ...container, secrets: ["id=k,env=K"] }, { K: "tops3cret" });
    expect(first.output).toBe("400\ntops3cret\ntops3cret\n");
    const other = await sandbox.build(text, { ...container, secrets: ["id=k,env=K"] }, { K: "another" });
    expect(other.ran).toEqual([]);
    const found = execFileSync("sh", ["-c", `grep -rl tops3cret ${sandbox.root} || true`], { encoding: "utf8" });
    expect(found).toBe("");
    const required = sandbox.build(`${base}RUN --mount=type=secret,id=k,required=true true\n`, container);
    await expect(required).rejects.toMatchObject({ code: "SECRET_MISSING" });
  });

  it("network=none has a loopback and nothing else", async () => {
    const built = await sandbox.build(`${base}RUN --network=none ls /sys/class/net\n`, container);
    expect(built.output).toBe("lo\n");
  });
});

describe("the image", () => {
  it("is read by skopeo and umoci as it was meant", async () => {
    const built = await sandbox.build(`${base}RUN mkdir /d && touch /d/a\nRUN rm /d/a\nCMD ["/bin/sh"]\n`, {
      ...container,
      tags: ["img"],
    });
    const layout = path.join(sandbox.root, "layout");
    execFileSync("skopeo", [
      "copy",
      "-q",
      `oci:${sandbox.home.images}:docker.io/library/img:latest`,
      `oci:${layout}:img`,
    ]);
    const inspected = JSON.parse(
      execFileSync("skopeo", ["inspect", "--config", `oci:${layout}:img`], { encoding: "utf8" }),
    );
    expect(inspected.rootfs.diff_ids).toEqual(built.config.rootfs.diff_ids);
    const bundle = path.join(sandbox.root, "bundle");
    execFileSync("umoci", ["unpack", "--image", `${layout}:img`, bundle], { stdio: "ignore" });
    expect(readdirSync(path.join(bundle, "rootfs")).sort()).toEqual(["bin", "d", "dev", "proc", "sys"]);
    expect(readdirSync(path.join(bundle, "rootfs", "d"))).toEqual([]);
  });

  it("is where buildah goes on from", async () => {
    const file = path.join(sandbox.root, "img.tar");
    await sandbox.build(`${base}RUN mkdir /d && touch /d/a /d/b\nRUN rm /d/a\nENV A=1\nCMD ["/bin/sh"]\n`, {
      ...container,
      tags: ["img"],
      output: [`type=docker,dest=${file}`],
    });
    const store = path.join(sandbox.root, "buildah");
    const buildah = (...args: string[]) => {
      const where = ["--root", `${store}/root`, "--runroot", `${store}/run`, "--storage-driver", "vfs"];
      return execFileSync("buildah", [...where, ...args], { encoding: "utf8" }).trim();
    };
    const working = buildah("from", "-q", "--signature-policy", acceptAnything(sandbox.root), `docker-archive:${file}`);
    try {
      const mounted = buildah("mount", working);
      expect(readdirSync(path.join(mounted, "d"))).toEqual(["b"]);
      expect(buildah("inspect", "--format", "{{.OCIv1.Config.Env}} {{.OCIv1.Config.Cmd}}", working)).toMatch(
        /A=1\] \[\/bin\/sh\]$/,
      );
    } finally {
      buildah("rm", working);
    }
  });
});

describe("stages", () => {
  it("that don't need each other run side by side", async () => {
    // Each waits, for at most half a minute, for what only the other one writes.
    const meet = (mine: string, theirs: string) =>
      `RUN --mount=type=cache,id=meet,target=/meet touch /meet/${mine} && \
  for i in $(seq 300); do test -e /meet/${theirs} && exit 0; sleep 0.1; done; exit 1`;
    const built = await sandbox.build(
      `${base.replace("\n", " AS base\n")}FROM base AS one\n${meet("1", "2")}\nFROM base AS two\n${meet("2", "1")}
FROM base AS unused\nRUN exit 1\nFROM base\nCOPY --from=one /bin/sh /1\nCOPY --from=two /bin/sh /2\n`,
      container,
    );
    expect(built.ran.filter((title) => title.includes("RUN"))).toHaveLength(2);
  });
});

/** A policy for image tools on hosts that have none. */
function acceptAnything(directory: string): string {
  const file = path.join(directory, "policy.json");
  writeFileSync(file, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  return file;
}

const loopDevices = () =>
  execFileSync("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"], { encoding: "utf8" });
const withoutMode = (line: string) => line.slice(line.indexOf(" ") + 1);

import { describe, expect, test } from "vitest";
import { imageSettings } from "../../../src/instance/image-settings.js";
import { planInstance, portsToPublish, type RunFlags } from "../../../src/instance/settings.js";
import type { RuntimeConfig, StoredImage } from "../../../src/oci/types.js";
import { parseSecretFlag } from "../../../src/secrets/spec.js";
import type { ChainId, Digest, InstanceId } from "../../../src/support/brands.js";
import { machineLabels } from "../../../src/support/machine-labels.js";

const noFlags: RunFlags = {
  command: [],
  env: [],
  ports: [],
  publishAll: false,
  volumes: [],
  secrets: [],
  extraHosts: [],
  network: true,
  hostLoopback: false,
  autoRemove: false,
  tty: false,
  openStdin: false,
  privileged: false,
  labels: {},
  readOnlyRoot: false,
};

const imageOf = (config: RuntimeConfig): StoredImage => ({
  target: { mediaType: "", digest: "sha256:0" as Digest, size: 0 },
  manifest: {
    schemaVersion: 2,
    mediaType: "",
    config: { mediaType: "", digest: "sha256:1" as Digest, size: 0 },
    layers: [],
  },
  config: { architecture: "amd64", os: "linux", config, rootfs: { type: "layers", diff_ids: [] } },
  names: [],
});

const plan = (config: RuntimeConfig, flags: Partial<RunFlags> = {}) =>
  planInstance(
    imageOf(config),
    "web:1",
    { chainId: "sha256:2" as ChainId, lowers: [] },
    { ...noFlags, ...flags },
    imageSettings(config.Labels),
    {
      id: "0123456789ab" as InstanceId,
      name: "web",
      createdAt: "2026-01-01T00:00:00Z",
      defaultWorkspace: "/state/workspace",
    },
  );

describe("what is run", () => {
  const config = { Entrypoint: ["/entry"], Cmd: ["serve"] };
  test.each([
    [{}, ["/entry", "serve"]],
    [{ command: ["other", "-x"] }, ["/entry", "other", "-x"]],
    [{ entrypoint: "/bin/sh" }, ["/bin/sh"]],
    [{ entrypoint: "/bin/sh", command: ["-c", "true"] }, ["/bin/sh", "-c", "true"]],
    [{ entrypoint: "", command: ["only"] }, ["only"]],
  ])("%j", async (flags, argv) => {
    expect((await plan(config, flags)).process.argv).toEqual(argv);
  });

  test("an image without a command needs one", async () => {
    await expect(plan({})).rejects.toMatchObject({ code: "NO_COMMAND" });
    await expect(plan(config, { entrypoint: "" })).rejects.toMatchObject({ code: "NO_COMMAND" });
  });
});

test("flags win over the image, the image over defaults, and each setting says where it came from", async () => {
  const labels = machineLabels({
    memory: "2g",
    cpus: "4",
    idle: "10m",
    restart: "always",
    secrets: [],
    renders: [],
    errorLogs: [{ glob: "/log/*" }],
  });
  const config = { Cmd: ["x"], Labels: labels, User: "app", Env: ["A=image", "B=image"], StopSignal: "SIGINT" };
  const planned = await plan(config, { memoryBytes: 2 ** 29, env: ["A=flag"], idleMs: "off" });
  expect(planned).toMatchObject({
    memoryBytes: 2 ** 29,
    cpus: 4,
    idleMs: undefined,
    restart: { kind: "always" },
    stopSignal: 2,
    errorLogs: [{ glob: "/log/*" }],
    process: { user: "app", cwd: "/" },
    origins: {
      memory: "flag",
      cpus: "image",
      disk: "default",
      user: "image",
      cwd: "default",
      idle: "flag",
      restart: "image",
    },
  });
  const off = machineLabels({ idle: "off", secrets: [], renders: [], errorLogs: [] });
  expect(await plan({ Cmd: ["x"], Labels: off })).toMatchObject({ idleMs: undefined, origins: { idle: "image" } });
  expect(planned.process.env).toEqual(expect.arrayContaining(["A=flag", "B=image", "HOSTNAME=web"]));
  expect((await plan({ Cmd: ["x"] })).process.env).toEqual(expect.arrayContaining([expect.stringMatching(/^PATH=/)]));
});

test("a flag says where a declared secret comes from and leaves how it is delivered", async () => {
  const secrets = [{ name: "KEY", target: "/run/key", required: true }];
  const renders = [{ path: "/etc/a", template: '{{ secret "OTHER" | default "" }}' }];
  const config = { Cmd: ["x"], Labels: machineLabels({ secrets, renders, errorLogs: [] }) };
  expect((await plan(config)).secrets).toMatchObject([
    { name: "KEY", source: { kind: "store" }, delivery: { kind: "file", path: "/run/key" }, required: true },
    { name: "OTHER", delivery: { kind: "render" }, required: false },
  ]);
  const [key] = (await plan(config, { secrets: [parseSecretFlag("id=KEY,env=HOST_KEY")] })).secrets;
  expect(key).toMatchObject({
    source: { kind: "env", variable: "HOST_KEY" },
    delivery: { kind: "file", path: "/run/key" },
  });
});

test("volumes: the image's are anonymous until a flag mounts something there; a workspace has a directory of its own", async () => {
  const labels = machineLabels({ workspace: "/workspace", secrets: [], renders: [], errorLogs: [] });
  const config = { Cmd: ["x"], Volumes: { "/data": {}, "/cache": {} }, Labels: labels };
  const bind = { kind: "bind", hostPath: "/host", target: "/data", readOnly: false } as const;
  expect((await plan(config, { volumes: [bind] })).volumes).toEqual([
    bind,
    { kind: "anonymous", target: "/cache" },
    { kind: "bind", hostPath: "/state/workspace", target: "/workspace", readOnly: false },
  ]);
  expect((await plan(config, { workspace: "/mine" })).volumes).toContainEqual({
    kind: "bind",
    hostPath: "/mine",
    target: "/workspace",
    readOnly: false,
  });
  await expect(plan({ Cmd: ["x"] }, { workspace: "/mine" })).rejects.toMatchObject({ code: "NO_WORKSPACE" });
});

test("machines that can't be are refused", async () => {
  await expect(plan({ Cmd: ["x"] }, { memoryBytes: 2 ** 24 })).rejects.toMatchObject({ code: "MEMORY_TOO_SMALL" });
  await expect(plan({ Cmd: ["x"] }, { cpus: 99 })).rejects.toMatchObject({ code: "BAD_CPUS" });
  await expect(plan({ Cmd: ["x"] }, { diskBytes: 1000 })).rejects.toMatchObject({ code: "DISK_TOO_SMALL" });
});

test("-P publishes what the image exposes, beside what -p says", async () => {
  const image = imageOf({ ExposedPorts: { "39881/tcp": {}, "39882/udp": {} } });
  const own = { hostAddress: "127.0.0.1", hostPort: 1234, guestPort: 39881, protocol: "tcp" } as const;
  expect(await portsToPublish(image, { ...noFlags, ports: [own] })).toEqual([own]);
  expect(await portsToPublish(image, { ...noFlags, ports: [own], publishAll: true })).toEqual([
    own,
    { hostAddress: "127.0.0.1", hostPort: 39882, guestPort: 39882, protocol: "udp" },
  ]);
});

/** An instance with nothing special about it, for tests to change what they are about. */
import type { InstanceConfig } from "../../src/instance/types.js";
import type { ChainId, Digest, InstanceId } from "../../src/support/brands.js";

const id = "0123456789ab" as InstanceId;
export const instanceConfig: InstanceConfig = {
  schema: 1,
  id,
  name: "web",
  createdAt: "2026-01-01T00:00:00.000Z",
  image: { reference: "web", digest: "sha256:0" as Digest, chainId: "sha256:1" as ChainId, lowers: [] },
  process: { argv: ["app"], env: ["A=1"], user: "", cwd: "/", tty: false, openStdin: false, privileged: false },
  stopSignal: 15,
  stopGraceMs: 1000,
  memoryBytes: 2 ** 30,
  cpus: 1,
  vmm: undefined,
  diskBytes: 2 ** 30,
  ports: [],
  volumes: [],
  secrets: [],
  renders: [],
  errorLogs: [],
  hostname: "web",
  extraHosts: [],
  network: true,
  hostLoopback: false,
  restart: { kind: "no" },
  autoRemove: false,
  idleMs: undefined,
  readOnlyRoot: false,
  shmBytes: undefined,
  labels: {},
  origins: {},
};

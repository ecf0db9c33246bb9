/** Small images, stores and tools for tests against other people's programs. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { writeLayer } from "../../../src/oci/layers.js";
import { pushImage } from "../../../src/oci/registry/push.js";
import type { RegistryOptions } from "../../../src/oci/registry/session.js";
import { type ImageStore, openImageStore } from "../../../src/oci/store.js";
import type { Descriptor, StoredImage } from "../../../src/oci/types.js";
import type { DiffId } from "../../../src/support/brands.js";
import { file, replay } from "../../unit/oci/trees.js";
import type { RegistryServer } from "./registry-server.js";

const execute = promisify(execFile);

/** Standard output of a tool. */
export async function run(program: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await execute(program, [...args], { maxBuffer: 64 << 20, timeout: 120_000 });
  return stdout;
}

/** Skopeo without verification of TLS on both sides and without any policy. */
export async function skopeo(command: string, ...args: readonly string[]): Promise<string> {
  const tls = command === "copy" ? ["--src-tls-verify=false", "--dest-tls-verify=false"] : ["--tls-verify=false"];
  return await run("skopeo", "--insecure-policy", command, ...tls, ...args);
}

export interface TestStore extends AsyncDisposable {
  readonly directory: string;
  readonly store: ImageStore;
}

export async function temporaryStore(): Promise<TestStore> {
  const directory = await mkdtemp(path.join(tmpdir(), "aegis-oci-"));
  const store = await openImageStore(path.join(directory, "images"));
  return {
    directory,
    store,
    async [Symbol.asyncDispose]() {
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** An image of three layers, one of them of `size` bytes that don't compress. */
export async function makeImage(
  store: ImageStore,
  names: readonly string[],
  options: { readonly size?: number; readonly architecture?: string; readonly compression?: "gzip" | "none" } = {},
): Promise<StoredImage> {
  const compression = options.compression ?? "gzip";
  const trees = [
    [file("etc/hostname", "test\n"), file("big", randomBytes(options.size ?? 1000))],
    [file("bin/app", "#!/bin/sh\n", { mode: 0o755 })],
    [file("etc/.wh.hostname", "")],
  ];
  const layers: Descriptor[] = [];
  const ids: DiffId[] = [];
  for (const tree of trees) {
    const written = await writeLayer(store, async (sink) => replay(tree, sink), { compression });
    layers.push(written.descriptor);
    ids.push(written.diffId);
  }
  const config = {
    architecture: options.architecture ?? "amd64",
    os: "linux",
    created: "2024-01-01T00:00:00Z",
    config: { Cmd: ["/bin/app"], Env: ["A=1"], Labels: { made: "by a test" } },
    rootfs: { type: "layers" as const, diff_ids: ids },
    history: trees.map((_, i) => ({ created: "2024-01-01T00:00:00Z", created_by: `layer ${i}` })),
  };
  return await store.putImage({ config, layers }, names);
}

/** Registry options that touch nothing of this machine's user and fail fast. */
export const quick = (over: RegistryOptions = {}): RegistryOptions => ({
  env: { HOME: "/nonexistent", PATH: process.env.PATH },
  certificateDirectories: [],
  retry: { attempts: 4, delay: 5, maxDelay: 200 },
  ...over,
});

/** Pushes an image of our own to a registry. */
export async function published(
  registry: RegistryServer,
  name: string,
  options: Parameters<typeof makeImage>[2] = {},
): Promise<StoredImage> {
  await using from = await temporaryStore();
  const image = await makeImage(from.store, [`${registry.host}/${name}`], options);
  await pushImage(from.store, `${registry.host}/${name}`, { registry: quick() });
  return image;
}

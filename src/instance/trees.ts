/** The files of an instance as commands on the host see them: read from its disks, without mounting anything. */
import path from "node:path";
import { exists } from "../rootfs/chains.js";
import { openTreeView, openUpper } from "../rootfs/tree-view.js";
import type { RootDisks } from "../rootfs/types.js";
import type { TreeView } from "../rootfs/view.js";
import { type ByteString, encodeText } from "../support/brands.js";
import type { AegisHome } from "../support/home.js";
import { hold } from "./client.js";
import { presentLowers } from "./lowers.js";
import { filesOf, findInstance, lockForChange } from "./store.js";
import { type InstanceConfig, isActive } from "./types.js";

export interface InstanceTrees {
  readonly config: InstanceConfig;
  readonly disks: RootDisks;
  /** The writable disk; undefined before the first boot. */
  readonly writable: string | undefined;
  /** The image's tree. */
  readonly lower: TreeView;
  /** What the instance wrote, raw: whiteouts and overlay attributes included. Empty before the first boot. */
  readonly upper: TreeView;
  /** Places where the machine mounts something: what is there is not the instance's doing. */
  readonly mountPoints: ReadonlySet<ByteString>;
}

/**
 * Calls `body` while nothing changes: an instance that is down can't be started meanwhile, a running one writes all that it
 * has in memory to its disk and is paused. A guest that was paused by hand is read as its disk is, journal included.
 * @throws AegisError INSTANCE_UNKNOWN, IMAGE_GONE, EXT4_CORRUPT
 */
export async function withInstanceTrees<T>(
  home: AegisHome,
  nameOrId: string,
  body: (trees: InstanceTrees) => Promise<T>,
): Promise<T> {
  const found = await findInstance(home, nameOrId);
  await using _change = await lockForChange(home, found.config.id);
  const { config, state } = await findInstance(home, found.config.id);
  if (!isActive(state.status)) return await openTrees(home, config, body);
  await using _still = await hold(home, config);
  return await openTrees(home, config, body);
}

async function openTrees<T>(
  home: AegisHome,
  config: InstanceConfig,
  body: (trees: InstanceTrees) => Promise<T>,
): Promise<T> {
  const { disk } = filesOf(home, config.id);
  await using lowers = await presentLowers(home, config);
  await using lower = await openTreeView(lowers.disks);
  const writable = (await exists(disk)) ? disk : undefined;
  const common = { config, disks: lowers.disks, writable, lower, mountPoints: mountPointsOf(config) };
  if (writable === undefined) return await body({ ...common, upper: nothing });
  await using upper = openUpper(writable);
  return await body({ ...common, upper });
}

const nothing: TreeView = {
  lookup: async () => undefined,
  list: async () => [],
  copyContent: async () => undefined,
};

function mountPointsOf({ volumes, secrets, renders }: InstanceConfig): ReadonlySet<ByteString> {
  const targets = [
    ...volumes.map(({ target }) => target),
    ...secrets.flatMap(({ delivery }) => (delivery.kind === "file" ? [delivery.path] : [])),
    ...renders.map((file) => (file.tmpfs ? path.posix.dirname(file.path) : file.path)),
  ];
  return new Set(targets.map((target) => encodeText(path.posix.resolve("/", target).slice(1))));
}

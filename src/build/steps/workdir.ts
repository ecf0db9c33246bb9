/** WORKDIR: makes the directory if it isn't there, owned by the stage's user. */
import { encodeText } from "../../support/brands.js";
import type { TreeSink } from "../../support/tree.js";
import { cleanPath } from "../../support/tree-paths.js";
import type { RootStack } from "../roots.js";
import { Changes } from "../tree/changes.js";
import { resolveOwner } from "../tree/users.js";
import { resolvePath } from "../tree/view.js";
import { keyOf, type LayerStep } from "./step.js";

export interface WorkdirInput {
  /** Absolute. */
  readonly path: string;
  readonly user: string;
  readonly now: number;
  readonly epoch: number | undefined;
}

export function workdirStep(input: WorkdirInput, roots: RootStack): LayerStep {
  return {
    createdBy: `WORKDIR ${input.path}`,
    key: async () => keyOf(["workdir", roots.chainId, input.path, input.user, input.epoch ?? null]),
    async produce(sink: TreeSink) {
      const view = await roots.lookups();
      const changes = new Changes(view, { sec: input.now, nsec: 0 });
      const owner =
        input.user === ""
          ? { uid: 0, gid: 0 }
          : await resolveOwner(roots.layers.length === 0 ? undefined : view, input.user);
      await changes.mkdirAll(await resolvePath(changes, encodeText(input.path)), 0o755, owner);
      await changes.emit(sink);
    },
  };
}

/** The working directory after `WORKDIR path` in `current`: joined and cleaned, always absolute. */
export const joinWorkdir = (current: string, path: string): string =>
  `/${cleanPath(path.startsWith("/") ? path : `${current}/${path}`)}`;

/** Images that FROM and `--from` name. Their layers are fetched when something needs them. */
import { existsSync } from "node:fs";
import { parseLayoutReference } from "../oci/archive/layout-reference.js";
import type { TransferEvent } from "../oci/registry/progress.js";
import type { PreparedPull } from "../oci/registry/pull.js";
import type { Platform, StoredImage } from "../oci/types.js";
import { registriesFile } from "../support/home.js";
import { formatSize } from "../support/sizes.js";
import type { BuildEnvironment } from "./environment.js";
import type { LayerOrigin } from "./layer-supply.js";
import type { StepHandle } from "./progress.js";

/** @throws AegisError NO_SUCH_PLATFORM and what pulling throws */
export async function resolveImage(
  environment: BuildEnvironment,
  reference: string,
  platform: Platform,
): Promise<StoredImage> {
  const { store, home, layers } = environment;
  const { pull, signal } = environment.request;
  // Only looked at: a build that has nothing to do takes no lease. Who reads its layers pins them first.
  const layout = parseLayoutReference(reference) !== undefined;
  const found = pull || layout ? undefined : await stored(environment, reference, platform);
  if (found && present(environment, found)) return found;
  const { prepareImage } = await import("../oci/ensure.js");
  let step: StepHandle | undefined;
  const prepared = await prepareImage(store, reference, {
    platform,
    pull: pull ? "always" : "missing",
    signal,
    registry: { settingsFile: registriesFile(home) },
    onProgress: (event) => step && tell(step, event),
  });
  const origin = new PullOrigin(prepared, (begun) =>
    environment.progress.during(`pulling ${reference}`, async (handle) => {
      step = handle;
      await begun;
    }),
  );
  layers.offer(prepared.image.manifest.layers, origin);
  return prepared.image;
}

/** An image that comes for one platform only is taken for what it is, as the reference does; a warning tells. */
async function stored(
  { store }: BuildEnvironment,
  reference: string,
  platform: Platform,
): Promise<StoredImage | undefined> {
  const fitting = await store.resolve(reference, { platform, pin: false });
  if (fitting) return fitting;
  const record = await store.find(reference, { pin: false });
  const only = record && (await store.resolve(reference, { pin: false }));
  return only && only.target.digest === record.target.digest ? only : undefined;
}

function present({ store }: BuildEnvironment, { manifest }: StoredImage): boolean {
  return manifest.layers.every(({ digest }) => existsSync(store.blobPath(digest)));
}

/** Layers of an image that is pulled once one of them is needed, and then whole, so that it can be named. */
class PullOrigin implements LayerOrigin {
  #begun: { readonly layerReady: LayerOrigin["fetch"]; readonly finished: Promise<void> } | undefined;

  constructor(
    readonly prepared: PreparedPull,
    readonly shown: (begun: Promise<void>) => Promise<void>,
  ) {}

  async fetch(layer: StoredImage["target"]): Promise<void> {
    if (!this.#begun) {
      const { layerReady, finished } = this.prepared.begin();
      const told = this.shown(finished);
      told.catch(() => undefined);
      this.#begun = { layerReady, finished: told };
    }
    await this.#begun.layerReady(layer);
  }

  async settled(): Promise<void> {
    await this.#begun?.finished;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#begun ? this.#begun.finished : this.prepared[Symbol.asyncDispose]());
  }
}

function tell(step: StepHandle, event: TransferEvent): void {
  if (event.type !== "blob") return;
  if (event.status === "done") step.note(`${event.digest} ${formatSize(event.total)} done`);
  if (event.status === "retrying") step.note(`${event.digest} ${formatSize(event.done)}, trying again`);
}

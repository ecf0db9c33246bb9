/** What `--metadata-file` holds, under buildx's keys. */
import { randomBytes } from "node:crypto";
import { formatPlatform } from "../oci/platforms.js";
import { provenanceSummary } from "./export/provenance.js";
import type { BuildResult } from "./types.js";

/** Keys in order, as Go writes a map. */
export function buildMetadata({ image, images, names, facts }: BuildResult): Readonly<Record<string, unknown>> {
  const [first, ...others] = images;
  const single = others.length === 0 ? first : undefined;
  const isManifest = single?.manifest.digest === image.digest;
  const summary = provenanceSummary(facts);
  const provenance = single
    ? { "buildx.build.provenance": summary }
    : Object.fromEntries(
        images.map(({ platform }) => [`buildx.build.provenance/${formatPlatform(platform)}`, summary]),
      );
  return {
    ...provenance,
    "buildx.build.ref": `aegis/aegis/${randomBytes(13).toString("hex").slice(0, 25)}`,
    ...(single && isManifest ? { "containerimage.config.digest": single.config.digest } : {}),
    "containerimage.descriptor": single && isManifest ? { ...image, platform: single.platform } : image,
    "containerimage.digest": image.digest,
    ...(names.length === 0 ? {} : { "image.name": names.join(",") }),
  };
}

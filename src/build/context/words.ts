/**
 * What a Dockerfile takes from the build context. The reference's builder is sent no more than that, and so to it a directory
 * of which nothing is taken is not there.
 */
import type { Dockerfile } from "../../dockerfile/types.js";
import type { ByteString } from "../../support/brands.js";
import { cleanPath } from "../../support/tree-paths.js";
import { matchSources } from "../tree/sources.js";
import { resolvePath, type TreeView } from "../tree/view.js";
import { isRemoteFile } from "./git-address.js";

/** Words of the build context as written, variables not expanded. */
export const contextWords = ({ stages }: Dockerfile): readonly string[] =>
  stages.flatMap(({ instructions }) =>
    instructions.flatMap((instruction): readonly string[] => {
      if (instruction.kind === "ADD") return instruction.sources.filter((word) => !isRemoteFile(word));
      if (instruction.kind === "COPY") return instruction.from === undefined ? instruction.sources : [];
      const bound = instruction.kind === "RUN" && instruction.mounts.some(({ spec, from }) => !from && isBind(spec));
      return bound ? ["/"] : [];
    }),
  );

/** The same of what `--from` names: of it the reference's builder has no directory for being sent all of it. */
export const namedWords = ({ stages }: Dockerfile, name: string): readonly string[] =>
  stages
    .flatMap(({ instructions }) => instructions)
    .flatMap((it) => (it.kind === "COPY" && it.from === name ? it.sources : []))
    .filter((word) => cleanPath(word) !== "");

const isBind = (spec: string): boolean => !/(^|,)type=(?!bind)/.test(spec);

/** Whether the words take this directory, something in it or something that it is in; in doubt they do. */
export async function coversDirectory(
  view: TreeView,
  words: readonly string[],
  directory: ByteString,
): Promise<boolean> {
  for (const word of words) {
    if (word.includes("$")) return true;
    for (const path of await matchSources(view, word)) {
      const taken = await resolvePath(view, path);
      const related =
        taken === "" || `${taken}/`.startsWith(`${directory}/`) || `${directory}/`.startsWith(`${taken}/`);
      if (related && (await view.lstat(taken))) return true;
    }
  }
  return directory === "";
}

/** Which `.dockerignore` holds for a context. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { parseDockerignore } from "../../dockerfile/dockerignore.js";
import { hasErrno } from "../../support/errors.js";

/** Patterns of `<Dockerfile>.dockerignore` if there is one, else of `.dockerignore` at the context's root. */
export async function ignorePatterns(contextRoot: string, dockerfile: string | undefined): Promise<readonly string[]> {
  const candidates = [
    ...(dockerfile === undefined ? [] : [`${dockerfile}.dockerignore`]),
    path.join(contextRoot, ".dockerignore"),
  ];
  for (const file of candidates) {
    try {
      return parseDockerignore(await readFile(file, "utf8"));
    } catch (error) {
      if (!hasErrno(error, "ENOENT", "ENOTDIR", "EISDIR")) throw error;
    }
  }
  return [];
}

/** Finds the file that says what to build: `-f`, or Aegisfile, or Dockerfile in the context. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Dialect } from "../../dockerfile/types.js";
import { AegisError, hasErrno } from "../../support/errors.js";
import type { BuildRequest } from "../types.js";

export interface FoundDockerfile {
  /** Absolute; undefined when it came from standard input. */
  readonly path: string | undefined;
  /** As messages call it. */
  readonly name: string;
  readonly text: Uint8Array;
  readonly dialect: Dialect;
}

/** @throws AegisError DOCKERFILE_MISSING */
export async function findDockerfile({
  context,
  file,
  text,
}: Pick<BuildRequest, "context" | "file" | "text">): Promise<FoundDockerfile> {
  if (text !== undefined) return { path: undefined, name: "Dockerfile", text, dialect: "dockerfile" };
  if (file !== undefined) {
    const found = await read(path.resolve(file));
    if (found) return found;
    throw missing(file, `there is no file ${file}`);
  }
  if (context === undefined) throw missing("-", "there is neither a context nor a Dockerfile");
  for (const name of ["Aegisfile", "Dockerfile"]) {
    const found = await read(path.join(context, name));
    if (found) return found;
  }
  throw missing(context, `${context} has neither an Aegisfile nor a Dockerfile`);
}

async function read(file: string): Promise<FoundDockerfile | undefined> {
  try {
    const name = path.basename(file);
    return { path: file, name, text: await readFile(file), dialect: dialectOf(name) };
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

/** `Aegisfile`, `Aegisfile.dev` and `web.Aegisfile` are; everything else is a Dockerfile. */
const dialectOf = (name: string): Dialect => (/(^|\.)aegisfile($|\.)/i.test(name) ? "aegisfile" : "dockerfile");

const missing = (where: string, message: string) =>
  new AegisError("DOCKERFILE_MISSING", message, {
    hint: "name the file with -f, or the directory that holds it as PATH",
    details: { path: where },
  });

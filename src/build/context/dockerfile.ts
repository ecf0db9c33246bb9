/** Finds the file that says what to build: `-f`, or Aegisfile, or Dockerfile in the context. */
import path from "node:path";
import { type Dialect, maxDockerfileBytes } from "../../dockerfile/types.js";
import { encodeText } from "../../support/brands.js";
import { AegisError, hasErrno } from "../../support/errors.js";
import { readBeginning } from "../../support/files.js";
import { readBytes } from "../tree/users.js";
import { resolvePath, type TreeView } from "../tree/view.js";
import type { BuildRequest } from "../types.js";
import { type ContextTrees, loneFile } from "./trees.js";

export interface FoundDockerfile {
  /** On this host, absolute; undefined when it came from elsewhere. */
  readonly path: string | undefined;
  /** As messages call it. */
  readonly name: string;
  readonly text: Uint8Array;
  readonly dialect: Dialect;
}

/** Names that are looked for, in this order; the reference, too, takes the last one for want of the one before. */
const usualNames = ["Aegisfile", "Dockerfile", "dockerfile"];

/** @throws AegisError DOCKERFILE_MISSING, FILE_TOO_LARGE, and what opening the context throws */
export async function findDockerfile(
  { context, file, text }: Pick<BuildRequest, "context" | "file" | "text">,
  trees: ContextTrees,
): Promise<FoundDockerfile> {
  if (text !== undefined) return { path: undefined, name: "Dockerfile", text, dialect: "dockerfile" };
  if (file !== undefined && /^https?:\/\//i.test(file)) return await fetched(file, trees);
  const local = context === undefined || context.type === "directory";
  if (file !== undefined && (local || path.isAbsolute(file))) {
    const found = await read(path.resolve(file));
    if (found) return found;
    // Where the context is no directory here, its own root may be meant.
    if (local) throw missing(file, `there is no file ${file}`);
  }
  if (context === undefined) throw missing("-", "there is neither a context nor a Dockerfile");
  if (context.type === "directory") {
    for (const name of usualNames) {
      const found = await read(path.join(context.path, name));
      if (found) return found;
    }
    throw missing(context.path, `${context.path} has neither an Aegisfile nor a Dockerfile`);
  }
  const view = await trees.open(context);
  const wanted = file === undefined ? [...usualNames, ...(context.type === "remote" ? [loneFile] : [])] : [file];
  for (const name of wanted) {
    const found = await readIn(view, name);
    if (found) return found;
  }
  throw missing(
    wanted[0]!,
    file === undefined ? "the context has neither an Aegisfile nor a Dockerfile" : `the context has no file ${file}`,
  );
}

async function fetched(url: string, { environment }: ContextTrees): Promise<FoundDockerfile> {
  const { home, request, progress } = environment;
  const { file, name = "Dockerfile" } = await progress.during(`[internal] load ${url}`, async () => {
    const { download } = await import("./download.js");
    return await download(home.cache, url, undefined, request.signal);
  });
  return { path: undefined, name, text: await readBeginning(file, maxDockerfileBytes + 1), dialect: dialectOf(name) };
}

async function readIn(view: TreeView, name: string): Promise<FoundDockerfile | undefined> {
  const at = await resolvePath(view, encodeText(name));
  const text = await readBytes(view, at);
  if (!text) return undefined;
  const base = path.posix.basename(name);
  return { path: undefined, name: base, text, dialect: dialectOf(base) };
}

async function read(file: string): Promise<FoundDockerfile | undefined> {
  try {
    const name = path.basename(file);
    // What is larger is refused when it is parsed.
    const text = await readBeginning(file, maxDockerfileBytes + 1);
    return { path: file, name, text, dialect: dialectOf(name) };
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR", "EISDIR")) return undefined;
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

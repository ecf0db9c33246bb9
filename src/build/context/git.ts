/**
 * Repositories as trees: one commit fetched without its history, checked out below `$AEGIS_HOME/cache/git`, and kept there by
 * the commit's name. What is checked out is only read, by code that follows no link out of it.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { lstat, mkdir, readdir, rename, rm, truncate } from "node:fs/promises";
import path from "node:path";
import { AegisError, hasErrno } from "../../support/errors.js";
import { publish, sweepTemporary, temporaryPath } from "../../support/files.js";
import { acquireLock, type HeldLock } from "../../support/locks.js";
import { checkCommitName, type GitAddress, shownRemote } from "./git-address.js";
import { type GitAccess, runGit } from "./git-command.js";

export interface Checkout {
  /** Of the commit; a tag's own name is never this. */
  readonly commit: string;
  /** Host directory. Stays while `lock` is held. */
  readonly directory: string;
  readonly lock: HeldLock;
}

interface ResolvedRef {
  /** As the server has it, or the commit itself. */
  readonly name: string;
  readonly commit: string;
  /** The object that an annotated tag is. */
  readonly tag?: string | undefined;
}

/**
 * @param cache directory of all checkouts
 * @throws AegisError GIT_MISSING, GIT_FAILED, GIT_REF_MISSING, GIT_CHECKSUM, GIT_DIRECTORY_MISSING
 */
export async function checkOut(cache: string, address: GitAddress, access: GitAccess): Promise<Checkout> {
  await mkdir(cache, { recursive: true, mode: 0o700 });
  if (address.commit !== undefined) checkCommitName(address.commit);
  const resolved = await resolveRef(cache, address, access);
  const { commit: wanted } = address;
  if (wanted !== undefined && ![resolved.commit, resolved.tag].some((name) => name?.startsWith(wanted))) {
    throw new AegisError("GIT_CHECKSUM", `${shownRemote(address)} has ${resolved.commit}, not ${wanted}`, {
      hint: "the ref has moved, or the checksum is wrong; look at what changed before you trust it",
    });
  }
  const name = treeName(address, resolved);
  const directory = path.join(cache, name);
  const lock = await acquireLock(`${directory}.lock`, { shared: true });
  try {
    if (!existsSync(directory)) await fetchTree(cache, directory, address, resolved, access);
    return { commit: resolved.commit, directory, lock };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The address counts as well: submodules may be named relative to it, and a kept repository names it. */
function treeName({ remote, directory, keepGitDir, submodules }: GitAddress, { name, commit }: ResolvedRef): string {
  const facts = [remote, directory ?? "", keepGitDir ? name : "", submodules ?? true];
  const rest = createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 16);
  return `${commit}-${rest}`;
}

const isCommit = (text: string): boolean => /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text);

async function resolveRef(cache: string, address: GitAddress, access: GitAccess): Promise<ResolvedRef> {
  const { remote, ref } = address;
  if (ref !== undefined && isCommit(ref)) return { name: ref, commit: ref };
  const asked = ref ?? "HEAD";
  const listing = await runGit(cache, ["ls-remote", "--symref", "--", remote, asked, `${asked}^{}`], access);
  const found = new Map<string, string>();
  let head: string | undefined;
  for (const line of listing.split("\n")) {
    const [left = "", name = ""] = line.split("\t");
    if (left.startsWith("ref: ") && name === "HEAD") head = left.slice("ref: ".length);
    else if (name !== "") found.set(name, left);
  }
  // git-checkout prefers branches where a tag has the same name.
  const short = asked.replace(/^refs\/(heads|tags)\//, "");
  const candidates =
    ref === undefined
      ? ["HEAD"]
      : asked.startsWith("refs/")
        ? [asked]
        : [`refs/heads/${short}`, `refs/tags/${short}`, `refs/${asked}`];
  for (const candidate of candidates) {
    const object = found.get(candidate);
    if (object === undefined) continue;
    const peeled = found.get(`${candidate}^{}`);
    return {
      name: candidate === "HEAD" ? (head ?? "HEAD") : candidate,
      commit: peeled ?? object,
      tag: peeled && object,
    };
  }
  throw new AegisError("GIT_REF_MISSING", `${shownRemote(address)} has no ref ${asked}`, {
    hint: "name a branch, a tag or a whole commit after #; git ls-remote lists what there is",
  });
}

async function fetchTree(
  cache: string,
  target: string,
  address: GitAddress,
  resolved: ResolvedRef,
  access: GitAccess,
): Promise<void> {
  await sweepTemporary(cache);
  const work = temporaryPath(cache, "checkout");
  const tree = path.join(work, "tree");
  const keep = address.keepGitDir === true && address.directory === undefined;
  const repository = path.join(work, keep ? path.join("tree", ".git") : "git");
  await mkdir(tree, { recursive: true, mode: 0o755 });
  const git = (...args: readonly string[]) =>
    runGit(tree, [`--git-dir=${repository}`, `--work-tree=${tree}`, ...args], access);
  try {
    // A repository that stays is made like any other, with the samples that come along.
    await runGit(
      work,
      ["init", "--quiet", ...(keep ? [] : ["--template=", "--bare"]), keep ? tree : repository],
      access,
    );
    await git("config", "core.bare", "false");
    await git("remote", "add", "origin", address.remote);
    await fetchCommit(git, resolved, keep);
    await git("checkout", "--quiet", "--force", "--detach", resolved.commit);
    if (address.submodules !== false && existsSync(path.join(tree, ".gitmodules"))) {
      await git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1");
    }
    if (keep) await tidy(repository);
    await publish(await subdirectory(tree, address), target).catch((error: unknown) => {
      // Another build was faster.
      if (!hasErrno(error, "ENOTEMPTY", "EEXIST")) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The commit alone if the server gives it so, else with whatever comes along. */
async function fetchCommit(
  git: (...args: readonly string[]) => Promise<string>,
  { name, commit }: ResolvedRef,
  keep: boolean,
): Promise<void> {
  const short = name.replace(/^refs\/(heads|tags)\//, "");
  const spec = keep && name.startsWith("refs/") ? `+${name}:refs/heads/${short}` : name;
  const tags = keep ? [] : ["--no-tags"];
  const fetch = (...args: readonly string[]) =>
    git("fetch", "--quiet", "--update-head-ok", "--no-recurse-submodules", ...tags, ...args);
  await fetch("--depth=1", "origin", spec).catch(async (error: unknown) => {
    if (!(error instanceof AegisError) || error.code !== "GIT_FAILED") throw error;
    // Old servers give only what a ref names, simple ones no part of a history.
    await fetch("origin", isCommit(name) ? "+refs/heads/*:refs/remotes/origin/*" : spec).catch(() =>
      Promise.reject(error),
    );
  });
  await git("cat-file", "-e", `${commit}^{commit}`).catch(() => {
    throw new AegisError("GIT_REF_MISSING", `the repository does not give the commit ${commit}`, {
      hint: "it is on no branch, or the branch moved just now; name a branch or a tag, or build again",
    });
  });
}

/** Takes out of a kept repository what says when and how it was fetched. */
async function tidy(repository: string): Promise<void> {
  for (const name of ["FETCH_HEAD", "ORIG_HEAD"]) await rm(path.join(repository, name), { force: true });
  const logs = path.join(repository, "logs");
  if (!existsSync(logs)) return;
  for (const entry of await readdir(logs, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await truncate(path.join(entry.parentPath, entry.name));
  }
}

/** What the address names of the tree, on its own. */
async function subdirectory(tree: string, address: GitAddress): Promise<string> {
  let at = tree;
  for (const part of address.directory?.split("/") ?? []) {
    at = path.join(at, part);
    const stat = await lstat(at).catch((error: unknown) => {
      if (hasErrno(error, "ENOENT")) return undefined;
      throw error;
    });
    if (stat?.isDirectory() && part !== ".git") continue;
    throw new AegisError(
      "GIT_DIRECTORY_MISSING",
      `${shownRemote(address)} has no directory ${address.directory}${stat ? `: ${part} is none` : ""}`,
      { hint: "check the spelling after #ref: ; links are not followed" },
    );
  }
  const apart = path.join(path.dirname(tree), "subdirectory");
  if (at === tree) return tree;
  await rename(at, apart);
  return apart;
}

/**
 * Addresses of git repositories, as contexts and ADD name them: `https://host/x.git`, `git://`, `ssh://`, `user@host:path` and
 * `github.com/owner/repo`, followed by `#ref:directory` or `?ref=&subdir=`. Nothing else is ever handed to git.
 */
import { posix } from "node:path";
import { AegisError } from "../../support/errors.js";

export interface GitAddress {
  /** What git is told to fetch from. */
  readonly remote: string;
  /** Branch, tag, full name of a ref or commit; undefined for the default branch. */
  readonly ref?: string | undefined;
  /** Directory of the repository, without slashes around; undefined for all of it. */
  readonly directory?: string | undefined;
  /** Beginning of the commit's (or tag's) name that must come out. */
  readonly commit?: string | undefined;
  readonly keepGitDir?: boolean | undefined;
  /** False leaves submodules out. */
  readonly submodules?: boolean | undefined;
}

const scpForm = /^([a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:[^?#]*)(?:\?([^#]*))?(?:#(.*))?$/;

/**
 * undefined when the word is no address of a repository.
 * @throws AegisError GIT_ADDRESS when it is one that can't be right
 */
export function parseGitAddress(word: string): GitAddress | undefined {
  const scp = scpForm.exec(word);
  if (scp) return complete(word, scp[1]!, scp[2], scp[3]);
  const text = word.startsWith("github.com/") ? `https://${word}` : word;
  if (!/^(https?|git|ssh):\/\//i.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  // A web address is a repository's only when it says so.
  if (/^https?:$/.test(url.protocol) && text === word && !url.pathname.endsWith(".git")) return undefined;
  const [query, fragment] = [url.search.slice(1), url.hash.slice(1)];
  url.search = "";
  url.hash = "";
  return complete(word, url.href, query, decodeURIComponent(fragment));
}

/** Whether reaching the repository needs an SSH agent. */
export const usesSsh = ({ remote }: GitAddress): boolean => /^ssh:/i.test(remote) || !remote.includes("://");

/** For messages and titles: a password in the address stays out. */
export const shownRemote = ({ remote }: Pick<GitAddress, "remote">): string =>
  remote.replace(/:\/\/[^/@]*@/, "://xxxxx@");

function complete(word: string, remote: string, query: string | undefined, fragment: string | undefined): GitAddress {
  const refuse = (why: string, hint = "write it as REPOSITORY.git#ref:directory or REPOSITORY.git?ref=&subdir=") =>
    new AegisError("GIT_ADDRESS", `${shownRemote({ remote: word })}: ${why}`, { hint });
  const colon = (fragment ?? "").indexOf(":");
  const parts: { ref?: string; subdir?: string; commit?: string; keepGitDir?: boolean; submodules?: boolean } = {
    ref: (colon < 0 ? fragment : fragment?.slice(0, colon)) ?? "",
    subdir: colon < 0 ? "" : fragment!.slice(colon + 1),
  };
  const set = (name: "ref" | "subdir", value: string) => {
    if (parts[name] && parts[name] !== value) throw refuse(`it names two ${name}s, ${parts[name]} and ${value}`);
    parts[name] = value;
  };
  const pairs = [...new URLSearchParams(query ?? "")];
  for (const [key, value] of pairs) {
    if (pairs.filter(([other]) => other === key).length > 1) throw refuse(`it says ${key}= twice`);
    if (value === "" && key !== "keep-git-dir" && key !== "submodules") throw refuse(`${key}= has no value`);
    if (key === "ref") set("ref", value);
    else if (key === "tag") set("ref", value.startsWith("refs/tags/") ? value : `refs/tags/${value}`);
    else if (key === "branch") set("ref", value.startsWith("refs/heads/") ? value : `refs/heads/${value}`);
    else if (key === "subdir") set("subdir", value);
    else if (key === "commit" || key === "checksum") parts.commit = value;
    else if (key === "keep-git-dir") parts.keepGitDir = truth(value);
    else if (key === "submodules") parts.submodules = truth(value);
    else
      throw refuse(`unexpected query "${key}"`, "known are ref, tag, branch, commit, subdir, keep-git-dir, submodules");
  }
  const ref = parts.ref || undefined;
  // git-check-ref-format(1); a dash in front would be an option to git.
  if (ref !== undefined && (/^-|[\0-\x20\x7f~^:?*[\\]|\.\.|@\{|\/$|\.lock$/.test(ref) || ref === "@")) {
    throw refuse(`"${ref}" can't be the name of a ref`);
  }
  if (parts.commit !== undefined) checkCommitName(parts.commit);
  if (/^-|@-/.test(remote) || /:\/\/-/.test(remote)) throw refuse("a host can't begin with a dash");
  const directory = posix.normalize(`/${parts.subdir ?? ""}`).replace(/^\/+|\/+$/g, "") || undefined;
  return { remote, ref, directory, commit: parts.commit, keepGitDir: parts.keepGitDir, submodules: parts.submodules };

  function truth(value: string): boolean {
    if (/^(|1|t|true)$/i.test(value)) return true;
    if (/^(0|f|false)$/i.test(value)) return false;
    throw refuse(`"${value}" is neither true nor false`);
  }
}

/** A web address that is no repository's. @throws AegisError GIT_ADDRESS */
export const isRemoteFile = (source: string): boolean =>
  /^https?:\/\//.test(source) && URL.canParse(source) && parseGitAddress(source) === undefined;

/** @throws AegisError GIT_CHECKSUM unless the text is (the beginning of) a commit's name */
export function checkCommitName(text: string): void {
  if (/^[0-9a-f]{1,64}$/.test(text)) return;
  throw new AegisError("GIT_CHECKSUM", `"${text}" is not the name of a commit`, {
    hint: "a repository's checksum is its commit in hex, as `git rev-parse` prints it",
  });
}

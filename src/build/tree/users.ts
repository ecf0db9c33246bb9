/** Names of users and groups as the image's own /etc/passwd and /etc/group have them. */
import type { ByteString } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import type { RunUser } from "../executors/types.js";
import type { Owner } from "./changes.js";
import { resolvePath, type TreeView } from "./view.js";

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

export interface ResolvedUser extends RunUser {
  readonly home: string;
}

const maxFileSize = 16 << 20;

/**
 * Who a RUN step is: `user`, `uid`, `user:group` in any mix, empty for root. A number that passwd doesn't know has group 0 and
 * lives in `/`.
 * @throws AegisError USER_UNKNOWN
 */
export async function resolveUser(view: TreeView, spec: string): Promise<ResolvedUser> {
  const [userPart, groupPart] = split(spec);
  const passwd = await readPasswd(view);
  const groups = await readGroups(view);
  const wanted = userPart === "" ? "0" : userPart;
  const entry = passwd.find((it) => it.name === wanted) ?? passwd.find((it) => String(it.uid) === wanted);
  const uid = entry?.uid ?? numeric(wanted);
  if (uid === undefined) throw unknown("user", wanted);
  if (groupPart !== undefined && groupPart !== "") {
    const gid = groups.find((it) => it.name === groupPart)?.gid ?? numeric(groupPart);
    if (gid === undefined) throw unknown("group", groupPart);
    return { uid, gid, additionalGids: [gid], home: entry?.home || "/" };
  }
  const gid = entry?.gid ?? 0;
  const supplementary = groups
    .filter((it) => entry !== undefined && it.members.includes(entry.name))
    .map((it) => it.gid);
  return { uid, gid, additionalGids: [...new Set([gid, ...supplementary])], home: entry?.home || "/" };
}

/**
 * Whose files `--chown` makes: names are looked up, numbers are taken as they are; a user alone brings its primary group, or
 * for a number the same number.
 * @throws AegisError USER_UNKNOWN for a name where there is no passwd or group to look in
 */
export async function resolveOwner(view: TreeView, spec: string): Promise<Owner> {
  const [userPart, groupPart] = split(spec);
  let uid = userPart === "" ? 0 : numeric(userPart);
  let gid = uid;
  if (uid === undefined) {
    const passwd = await readPasswd(view);
    const entry = passwd.find((it) => it.name === userPart);
    if (passwd.length === 0) throw unknown("user", userPart);
    // As in the reference a name that passwd lacks is root, and one that group lacks changes nothing.
    uid = entry?.uid ?? 0;
    gid = entry?.gid ?? 0;
  }
  if (groupPart !== undefined && groupPart !== "") {
    const number = numeric(groupPart);
    const groups = number === undefined ? await readGroups(view) : [];
    if (number === undefined && groups.length === 0) throw unknown("group", groupPart);
    gid = number ?? groups.find((it) => it.name === groupPart)?.gid ?? gid;
  }
  return { uid, gid: gid ?? uid };
}

function split(spec: string): readonly [string, string | undefined] {
  const colon = spec.indexOf(":");
  return colon < 0 ? [spec, undefined] : [spec.slice(0, colon), spec.slice(colon + 1)];
}

const numeric = (text: string): number | undefined =>
  /^\d+$/.test(text) && Number(text) <= 0xffff_fffe ? Number(text) : undefined;

function unknown(what: "user" | "group", name: string): AegisError {
  return new AegisError("USER_UNKNOWN", `the image has no ${what} "${name}"`, {
    hint: `create it in an earlier RUN (${what}add or add${what}), or use a number`,
  });
}

async function readPasswd(view: TreeView): Promise<readonly PasswdEntry[]> {
  const lines = await readLines(view, "etc/passwd");
  return lines.flatMap((fields): PasswdEntry[] => {
    const [name, , uid, gid, , home] = fields;
    const valid = name && numeric(uid ?? "") !== undefined && numeric(gid ?? "") !== undefined;
    return valid ? [{ name, uid: Number(uid), gid: Number(gid), home: home ?? "" }] : [];
  });
}

async function readGroups(view: TreeView): Promise<readonly GroupEntry[]> {
  const lines = await readLines(view, "etc/group");
  return lines.flatMap((fields): GroupEntry[] => {
    const [name, , gid, members] = fields;
    if (!name || numeric(gid ?? "") === undefined) return [];
    return [{ name, gid: Number(gid), members: (members ?? "").split(",").filter(Boolean) }];
  });
}

async function readLines(view: TreeView, path: string): Promise<readonly (readonly string[])[]> {
  const at = await resolvePath(view, path);
  const text = await readText(view, at);
  return text.split("\n").flatMap((line) => (line === "" || line.startsWith("#") ? [] : [line.trim().split(":")]));
}

/** A small file's text; empty when there is none. @throws AegisError FILE_TOO_LARGE */
export async function readText(view: TreeView, path: ByteString): Promise<string> {
  return (await readBytes(view, path))?.toString("utf8") ?? "";
}

/** A small file's content; undefined where there is no file. @throws AegisError FILE_TOO_LARGE */
export async function readBytes(view: TreeView, path: ByteString): Promise<Buffer | undefined> {
  const node = await view.lstat(path);
  if (node?.type !== "file") return undefined;
  if (node.size > maxFileSize) {
    throw new AegisError("FILE_TOO_LARGE", `/${path} has ${node.size} bytes, too many for what it is`, {
      hint: "look at what writes it",
    });
  }
  const chunks: Uint8Array[] = [];
  await view.read(path, {
    entry: () => undefined,
    data: (chunk) => void chunks.push(Uint8Array.from(chunk)),
    hole: (length) => void chunks.push(new Uint8Array(length)),
    drain: () => undefined,
  });
  return Buffer.concat(chunks);
}

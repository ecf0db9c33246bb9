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
 * Who a RUN step is: `user`, `uid`, `user:group` in any mix, empty for root. What is a number counts as one even where somebody is called
 * so; a number that passwd doesn't know has group 0 and lives in `/`.
 * @throws AegisError USER_UNKNOWN, also where a file is missing that would have to be asked
 */
export async function resolveUser(view: TreeView, spec: string): Promise<ResolvedUser> {
  const passwd = await readPasswd(view);
  const { uid, gid, supplementary } = await identify(view, passwd, spec);
  // Whoever was named, the home is that of the first one with this number: it is looked up when the container starts.
  const home = passwd?.find((it) => it.uid === uid)?.home ?? "/";
  return { uid, gid, additionalGids: [...new Set([gid, ...supplementary])], home };
}

interface Identity extends Owner {
  readonly supplementary: readonly number[];
}

const root: Identity = { uid: 0, gid: 0, supplementary: [] };

async function identify(view: TreeView, passwd: readonly PasswdEntry[] | undefined, spec: string): Promise<Identity> {
  const [userPart, groupPart = ""] = split(spec);
  const [uid, gid] = [userPart, groupPart].map((part) => (part === "root" ? 0 : numeric(part)));
  if (uid !== undefined && gid !== undefined) return { uid, gid, supplementary: [] };
  if (!passwd) {
    if (spec === "") return root;
    throw unknown("user", userPart);
  }
  const number = integer(userPart === "" ? "0" : userPart);
  const entry = passwd.find((it) => (number === undefined ? it.name === userPart : it.uid === number));
  const own = entry ?? { uid: number, gid: 0, name: "" };
  if (own.uid === undefined || !isId(own.uid)) throw unknown("user", userPart);
  if (groupPart === "" && own.name === "") return { uid: own.uid, gid: own.gid, supplementary: [] };
  const groups = await readGroups(view);
  if (!groups) {
    if (spec === "") return root;
    throw unknown("group", groupPart === "" ? String(own.gid) : groupPart);
  }
  if (groupPart !== "") return { uid: own.uid, gid: groupOf(groups, groupPart), supplementary: [] };
  const supplementary = groups.filter((it) => it.members.includes(own.name)).map((it) => it.gid);
  return { uid: own.uid, gid: own.gid, supplementary };
}

function groupOf(groups: readonly GroupEntry[], word: string): number {
  const number = integer(word);
  const gid = number ?? groups.find((it) => it.name === word)?.gid;
  if (gid === undefined || !isId(gid)) throw unknown("group", word);
  return gid;
}

/**
 * Whose files `--chown` makes: names are looked up, numbers are taken as they are; a user alone brings its primary group, or
 * for a number the same number. As in the reference a name that passwd lacks is root, and one that group lacks changes nothing.
 * @param view undefined where there is no tree to look names up in: nothing below, or nothing that may count
 * @throws AegisError USER_UNKNOWN for a name without a tree
 */
export async function resolveOwner(view: TreeView | undefined, spec: string): Promise<Owner> {
  const [userPart, groupPart] = split(spec);
  const tree = (what: "user" | "group", name: string): TreeView => {
    if (view) return view;
    throw new AegisError("USER_UNKNOWN", `there is no image in which to look up the ${what} "${name}"`, {
      hint: "use a number: a stage that begins with scratch, and a COPY or ADD with --link, know no names",
    });
  };
  const number = ownerNumber(userPart);
  const entry =
    number === undefined ? (await readPasswd(tree("user", userPart)))?.find((it) => it.name === userPart) : undefined;
  const uid = number ?? entry?.uid ?? 0;
  if (groupPart === undefined) return { uid, gid: number ?? entry?.gid ?? 0 };
  const groupNumber = ownerNumber(groupPart);
  if (groupNumber !== undefined) return { uid, gid: groupNumber };
  const group = (await readGroups(tree("group", groupPart)))?.find((it) => it.name === groupPart);
  return { uid, gid: group?.gid ?? number ?? entry?.gid ?? 0 };
}

/** What the reference takes as a number: 32 bits and a sign, where -1, as in chown(2), leaves the owner alone. */
function ownerNumber(text: string): number | undefined {
  if (text === "" || text === "root") return 0;
  if (!/^[-+]?\d+$/.test(text)) return undefined;
  const value = Number(text);
  if (value < -(2 ** 31) || value >= 2 ** 31) return undefined;
  return value === -1 ? 0 : value >>> 0;
}

function split(spec: string): readonly [string, string | undefined] {
  const colon = spec.indexOf(":");
  return colon < 0 ? [spec, undefined] : [spec.slice(0, colon), spec.slice(colon + 1)];
}

const numeric = (text: string): number | undefined =>
  /^\d+$/.test(text) && Number(text) <= 0xffff_fffe ? Number(text) : undefined;

/** A number as Go's `Atoi` reads it. */
const integer = (text: string): number | undefined => (/^[-+]?\d+$/.test(text) ? Number(text) : undefined);

const isId = (id: number): boolean => id >= 0 && id <= 0x7fff_ffff;

function unknown(what: "user" | "group", name: string): AegisError {
  return new AegisError("USER_UNKNOWN", `the image has no ${what} "${name}"`, {
    hint: `create it in an earlier RUN (${what}add or add${what}), or use a number`,
  });
}

/** Undefined where there is no such file. What lines lack is empty or 0, and so are numbers that are none. */
async function readPasswd(view: TreeView): Promise<readonly PasswdEntry[] | undefined> {
  const lines = await readLines(view, "etc/passwd");
  return lines?.map(([name = "", , uid = "", gid = "", , home = ""]) => ({
    name,
    uid: integer(uid) ?? 0,
    gid: integer(gid) ?? 0,
    home,
  }));
}

async function readGroups(view: TreeView): Promise<readonly GroupEntry[] | undefined> {
  const lines = await readLines(view, "etc/group");
  return lines?.map(([name = "", , gid = "", members = ""]) => ({
    name,
    gid: integer(gid) ?? 0,
    members: members.split(",").filter(Boolean),
  }));
}

async function readLines(view: TreeView, path: string): Promise<readonly (readonly string[])[] | undefined> {
  const bytes = await readBytes(view, await resolvePath(view, path));
  return bytes
    ?.toString("utf8")
    .split("\n")
    .flatMap((line) => (line.trim() === "" ? [] : [line.trim().split(":")]));
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

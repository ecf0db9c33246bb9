/** Contexts as trees, each fetched and opened once per build, whichever stages and steps ask. */
import { createWriteStream } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseBoolean } from "../../support/booleans.js";
import { type ByteString, encodeText } from "../../support/brands.js";
import { AegisError } from "../../support/errors.js";
import { ContextDigests } from "../cache/digests.js";
import type { BuildEnvironment } from "../environment.js";
import type { Bytes } from "../tree/archive.js";
import { Changes } from "../tree/changes.js";
import { patternFilter } from "../tree/filter.js";
import { frozenView } from "../tree/frozen.js";
import type { SourceView } from "../tree/sources.js";
import { Spool } from "../tree/spool.js";
import { emptyView } from "../tree/view.js";
import type { ContextSource } from "../types.js";
import type { Checkout } from "./git.js";
import { type GitAddress, shownRemote } from "./git-address.js";
import { ignorePatterns } from "./ignore.js";
import { LocalTree } from "./local.js";

/** What the reference calls the only file of a context that is a file on the web. */
export const loneFile = "context" as ByteString;

/** What fetching needs of a build. */
export type FetchEnvironment = Pick<BuildEnvironment, "home" | "request" | "progress" | "temporary" | "closeAtEnd">;

export interface GitTree {
  readonly view: SourceView;
  readonly commit: string;
}

export class ContextTrees {
  readonly #trees = new Map<ContextSource, Promise<SourceView>>();
  readonly #checkouts = new Map<string, Promise<GitTree>>();
  readonly #digests = new Map<string, ContextDigests>();

  constructor(readonly environment: FetchEnvironment) {}

  /**
   * @param dockerfile host path of the Dockerfile, whose own `.dockerignore` goes before the directory's
   * @throws AegisError with the codes of fetching: GIT_*, DOWNLOAD_FAILED, CONTEXT_INVALID
   */
  open(source: ContextSource, dockerfile?: string): Promise<SourceView> {
    const known = this.#trees.get(source);
    if (known) return known;
    const tree = this.#open(source, dockerfile);
    tree.catch(() => undefined);
    this.#trees.set(source, tree);
    return tree;
  }

  async #open(source: ContextSource, dockerfile: string | undefined): Promise<SourceView> {
    const { environment } = this;
    switch (source.type) {
      case "directory": {
        const patterns = await ignorePatterns(source.path, dockerfile);
        return new LocalTree(source.path, this.#digestsOf(source.path), patternFilter(patterns));
      }
      case "git": {
        const keepGitDir = source.address.keepGitDir ?? keepsGitDir(environment.request.buildArgs);
        return (await this.repository({ ...source.address, keepGitDir })).view;
      }
      case "archive": {
        const file = await environment.temporary("context.tar");
        await environment.progress.during(`[internal] load build context from ${source.name}`, () =>
          pipeline(Readable.from(source.open()), createWriteStream(file, { mode: 0o600 })),
        );
        const { bytesOfFile, isArchive } = await import("../tree/archive.js");
        if (!(await isArchive(bytesOfFile(file)))) throw notArchive(source.name);
        return await this.#unpacked(bytesOfFile(file));
      }
      case "remote": {
        const { home, request, progress } = environment;
        const [{ download, pushHostFile }, { bytesOfFile, isArchive }] = await Promise.all([
          import("./download.js"),
          import("../tree/archive.js"),
        ]);
        const { file, mtime, size } = await progress.during(`[internal] load remote build context ${source.url}`, () =>
          download(home.cache, source.url, undefined, request.signal),
        );
        const bytes = bytesOfFile(file);
        if (await isArchive(bytes)) return await this.#unpacked(bytes);
        const changes = new Changes(emptyView, { sec: 0, nsec: 0 });
        changes.put(loneFile, {
          node: { type: "file", mode: 0o600, uid: 0, gid: 0, mtime: { sec: mtime, nsec: 0 }, size },
          content: { kind: "spool", read: (sink) => pushHostFile(file, sink) },
        });
        return frozenView(changes);
      }
    }
  }

  /** A repository's commit; the same one is checked out once. */
  repository(address: GitAddress): Promise<GitTree> {
    const key = JSON.stringify(Object.entries(address).sort());
    const known = this.#checkouts.get(key);
    if (known) return known;
    const checkout = this.#checkOut(address);
    checkout.catch(() => undefined);
    this.#checkouts.set(key, checkout);
    return checkout;
  }

  async #checkOut(address: GitAddress): Promise<GitTree> {
    const { home, progress, request } = this.environment;
    const [{ checkOut }, { gitAccess }] = await Promise.all([import("./git.js"), import("./git-access.js")]);
    const access = await gitAccess(address, request, home);
    const title = `[internal] load git source ${shownRemote(address)}${address.ref ? `#${address.ref}` : ""}`;
    const { commit, directory, lock }: Checkout = await progress.during(title, async (step) => {
      const checkout = await checkOut(path.join(home.cache, "git"), address, access);
      step.note(checkout.commit);
      return checkout;
    });
    this.environment.closeAtEnd({ [Symbol.dispose]: () => lock.release() });
    return { commit, view: new LocalTree(directory, this.#digestsOf(directory)) };
  }

  async #unpacked(bytes: Bytes): Promise<SourceView> {
    const spool = new Spool(await this.environment.temporary("context"));
    this.environment.closeAtEnd(spool);
    const changes = new Changes(emptyView, { sec: 0, nsec: 0 });
    const { unpackInto } = await import("../tree/archive.js");
    await unpackInto(changes, bytes, encodeText(""), { owner: undefined, spool });
    return frozenView(changes);
  }

  #digestsOf(root: string): ContextDigests {
    const known = this.#digests.get(root);
    if (known) return known;
    const digests = new ContextDigests(this.environment.home.cache, root);
    this.#digests.set(root, digests);
    return digests;
  }

  /** Keeps what was learned about files on this host. */
  async save(): Promise<void> {
    for (const digests of this.#digests.values()) await digests.save();
  }
}

const keepsGitDir = (buildArgs: Readonly<Record<string, string>>): boolean =>
  parseBoolean(buildArgs.BUILDKIT_CONTEXT_KEEP_GIT_DIR ?? "") ?? false;

const notArchive = (name: string) =>
  new AegisError("CONTEXT_INVALID", `${name} is not a tar archive`, {
    hint: "a context is a directory, a tar (plain, gzip, bzip2, xz, zstd), a git repository or a web address",
  });

import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ContextDigests } from "../../../src/build/cache/digests.js";
import { LocalTree } from "../../../src/build/context/local.js";
import { patternFilter } from "../../../src/build/tree/filter.js";
import type { ByteString } from "../../../src/support/brands.js";
import { scratchDirectory } from "../../helpers/scratch.js";

const scratch = scratchDirectory();
beforeEach(() => {
  mkdirSync(scratch("context"));
});
afterEach(() => {
  vi.restoreAllMocks();
});

const at = (...names: string[]) => scratch("context", ...names);
const opened = () => new ContextDigests(scratch("cache"), at());

/** What a build does with one file; `later`: how long after the file's last change the build comes, in milliseconds. */
async function ask(name: string, later: number): Promise<{ readonly digest: string; readonly read: number }> {
  const identity = lstatSync(at(name));
  vi.spyOn(Date, "now").mockReturnValue(Math.max(identity.mtimeMs, identity.ctimeMs) + later);
  const digests = opened();
  const digest = digests.digest(name as ByteString, identity);
  await digests.save();
  return { digest, read: digests.filesRead };
}

describe("a file of a context", () => {
  it("that has long been left alone is read once", async () => {
    writeFileSync(at("file"), "one");
    const first = await ask("file", 60_000);
    expect(first.read).toBe(1);
    expect(await ask("file", 70_000)).toEqual({ digest: first.digest, read: 0 });
  });

  it("that was written just before it was read is read again, since a second change may not show", async () => {
    writeFileSync(at("file"), "one");
    const before = lstatSync(at("file"));
    const first = await ask("file", 10);
    // The same size, and a clock that has not moved on: no field of `lstat` tells the two apart.
    writeFileSync(at("file"), "two");
    const digests = opened();
    expect(digests.digest("file" as ByteString, before)).not.toBe(first.digest);
    expect(digests.filesRead).toBe(1);
  });

  it("with a time to come is not taken for settled", async () => {
    writeFileSync(at("file"), "one");
    const ahead = new Date(Date.now() + 3_600_000);
    utimesSync(at("file"), ahead, ahead);
    vi.spyOn(Date, "now").mockReturnValue(lstatSync(at("file")).ctimeMs + 60_000);
    const digests = opened();
    digests.digest("file" as ByteString, lstatSync(at("file")));
    await digests.save();
    const next = opened();
    next.digest("file" as ByteString, lstatSync(at("file")));
    expect(next.filesRead).toBe(1);
  });

  it("whose time was put back after a change is seen by its change time", async () => {
    writeFileSync(at("file"), "one");
    const old = new Date(1_000_000_000_000);
    utimesSync(at("file"), old, old);
    const first = await ask("file", 60_000);
    const { ctimeMs } = lstatSync(at("file"));
    writeFileSync(at("file"), "two");
    // The clock that stamps changes is coarse: until it has moved on, nothing could tell.
    do utimesSync(at("file"), old, old);
    while (lstatSync(at("file")).ctimeMs === ctimeMs);
    const second = await ask("file", 60_000);
    expect(second.digest).not.toBe(first.digest);
  });
});

it("what is remembered of files that are gone is dropped once it is most of it", async () => {
  for (let i = 0; i < 1200; i++) writeFileSync(at(`old${i}`), "");
  vi.spyOn(Date, "now").mockReturnValue(lstatSync(at("old1199")).ctimeMs + 60_000);
  const first = opened();
  for (let i = 0; i < 1200; i++) first.digest(`old${i}` as ByteString, lstatSync(at(`old${i}`)));
  await first.save();
  for (let i = 1; i < 1200; i++) rmSync(at(`old${i}`));
  writeFileSync(at("new"), "");
  await ask("new", 60_000);
  const [record] = readdirSync(scratch("cache/context"));
  const names = readFileSync(scratch("cache/context", record!), "latin1")
    .split("\0")
    .filter((_, i) => i % 2 === 1);
  expect(names).toEqual(["old0", "new"]);
});

describe("an ignored directory", () => {
  /** Directories that a walk over everything lists. */
  async function listed(patterns: readonly string[]): Promise<readonly string[]> {
    for (const name of ["src", "node_modules/a", "node_modules/b"]) {
      mkdirSync(at(name), { recursive: true });
      writeFileSync(at(name, "file"), "");
    }
    const tree = new LocalTree(at(), opened(), patternFilter(patterns));
    const seen: string[] = [];
    const list = tree.readdir.bind(tree);
    const walk = async (directory: string): Promise<void> => {
      for (const name of await list(directory as ByteString)) {
        const child = (directory === "" ? name : `${directory}/${name}`) as ByteString;
        if ((await tree.lstat(child))?.type !== "directory") continue;
        seen.push(child);
        await walk(child);
      }
    };
    await walk("");
    return seen.sort();
  }

  it("is not there", async () => {
    expect(await listed(["node_modules"])).toEqual(["src"]);
  });

  it("is there for the sake of what an exception names below it, and nothing beside that", async () => {
    expect(await listed(["node_modules", "!node_modules/b/file"])).toEqual(["node_modules", "node_modules/b", "src"]);
  });
});

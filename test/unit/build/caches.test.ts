import { beforeEach, describe, expect, it } from "vitest";
import { leaseCacheDisk, leaseCaches } from "../../../src/build/cache/mounts.js";
import { pruneBuildCache } from "../../../src/build/cache/prune.js";
import type { CacheVolume } from "../../../src/build/executors/types.js";
import { type AegisHome, openHome } from "../../../src/support/home.js";
import { scratchDirectory } from "../../helpers/scratch.js";

const scratch = scratchDirectory();
let home: AegisHome;
beforeEach(() => {
  home = openHome({ AEGIS_HOME: scratch("home"), HOME: scratch() });
});

const cache = (id: string, sharing: CacheVolume["sharing"]): CacheVolume => ({
  id,
  sharing,
  mode: 0o755,
  uid: 0,
  gid: 0,
});

describe("caches of a step", () => {
  it("a locked one is waited for, whatever else the steps mount and in which order", async () => {
    const order: string[] = [];
    const step = async (name: string, volumes: readonly CacheVolume[]) => {
      const lease = await leaseCaches(home, volumes);
      order.push(`${name} has them`);
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`${name} lets go`);
      lease.release();
    };
    const [a, b] = [cache("a", "locked"), cache("b", "locked")];
    await Promise.all([step("one", [a, b]), step("two", [b, a])]);
    const first = order[0]!.split(" ")[0]!;
    const second = first === "one" ? "two" : "one";
    expect(order).toEqual([`${first} has them`, `${first} lets go`, `${second} has them`, `${second} lets go`]);
  });

  it("one that is mounted twice is had once, a private one that is in use makes another", async () => {
    const twice = await leaseCaches(home, [cache("a", "locked"), cache("a", "locked")]);
    twice.release();
    const [mine, yours] = [cache("p", "private"), cache("p", "private")];
    const first = await leaseCaches(home, [mine]);
    const second = await leaseCaches(home, [yours]);
    expect(second.nameOf(yours)).not.toBe(first.nameOf(mine));
    first.release();
    second.release();
  });
});

describe("disks with caches of machines", () => {
  it("machines that run at once have one each, and each finds the one that has its caches", async () => {
    const [one, two] = [await leaseCacheDisk(home, ["a"]), await leaseCacheDisk(home, ["b"])];
    expect(one.disk).not.toBe(two.disk);
    one.release();
    two.release();
    for (const [name, disk] of [
      ["b", two.disk],
      ["a", one.disk],
    ] as const) {
      const again = await leaseCacheDisk(home, [name]);
      expect(again.disk).toBe(disk);
      again.release();
    }
  });

  it("prune leaves what a machine has", async () => {
    const held = await leaseCacheDisk(home, ["a"]);
    await pruneBuildCache(home);
    const other = await leaseCacheDisk(home, ["a"]);
    expect(other.disk).not.toBe(held.disk);
    held.release();
    const again = await leaseCacheDisk(home, ["a"]);
    expect(again.disk).toBe(held.disk);
    for (const lease of [other, again]) lease.release();
  });
});

import { describe, expect, test } from "vitest";
import { chainIds } from "../../../src/oci/digests.js";
import { choosePlatform, formatPlatform, parsePlatform } from "../../../src/oci/platforms.js";
import { familiarName, normaliseReference } from "../../../src/oci/references.js";
import { parseWhiteout, whiteoutOf } from "../../../src/oci/whiteouts.js";
import type { DiffId } from "../../../src/support/brands.js";
import { path } from "./trees.js";

const digest = `sha256:${"ab".repeat(32)}`;

describe("references", () => {
  test.each([
    ["node", "docker.io/library/node:latest", "node:latest"],
    ["node:22", "docker.io/library/node:22", "node:22"],
    ["library/node:22", "docker.io/library/node:22", "node:22"],
    ["docker.io/node", "docker.io/library/node:latest", "node:latest"],
    ["index.docker.io/library/node", "docker.io/library/node:latest", "node:latest"],
    ["owner/app", "docker.io/owner/app:latest", "owner/app:latest"],
    ["localhost/app", "localhost/app:latest", "localhost/app:latest"],
    ["localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"],
    ["ghcr.io/a/b/c:v1.0-x_y", "ghcr.io/a/b/c:v1.0-x_y", "ghcr.io/a/b/c:v1.0-x_y"],
    ["127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"],
    ["[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"],
    ["Host/app", "Host/app:latest", "Host/app:latest"],
    [`node@${digest}`, `docker.io/library/node@${digest}`, `node@${digest}`],
    [`node:22@${digest}`, `docker.io/library/node:22@${digest}`, `node:22@${digest}`],
    ["a__b/c--d.e", "docker.io/a__b/c--d.e:latest", "a__b/c--d.e:latest"],
  ])("%s is %s, shown as %s", (text, full, familiar) => {
    expect(normaliseReference(text)).toBe(full);
    expect(familiarName(text)).toBe(familiar);
  });

  test.each([
    "",
    "Node",
    "docker.io/Node",
    ":22",
    "node:",
    "node:2 2",
    `node:${"x".repeat(129)}`,
    "a//b",
    "-a",
    "a_",
    "a...b",
    "node@sha256:12",
    `node@md5:${"a".repeat(32)}`,
    "a".repeat(64),
    "x/".repeat(130),
    "http://host/app",
    `${"long/".repeat(52)}x`,
  ])("%j is refused", (text) => {
    expect(() => normaliseReference(text)).toThrow(expect.objectContaining({ code: "BAD_REFERENCE" }));
  });
});

describe("platforms", () => {
  test.each([
    ["linux/amd64", "linux/amd64"],
    ["x86_64", "linux/amd64"],
    ["linux/aarch64", "linux/arm64"],
    ["linux/arm64/v8", "linux/arm64"],
    ["linux/arm", "linux/arm/v7"],
    ["linux/armhf", "linux/arm/v7"],
    ["armel", "linux/arm/v6"],
  ])("%s is %s", (text, expected) => expect(formatPlatform(parsePlatform(text))).toBe(expected));

  test.each(["", "linux/", "linux/pdp11", "a/b/c/d"])("%j is refused", (text) => {
    expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: "BAD_PLATFORM" }));
  });

  test("the best variant that still runs is chosen", () => {
    const offered = ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6", "linux/arm64"];
    const choose = (wanted: string) => choosePlatform(offered, parsePlatform, parsePlatform(wanted));
    expect(choose("linux/arm/v6")).toBe("linux/arm/v6");
    expect(choose("linux/arm/v7")).toBe("linux/arm/v7");
    expect(choose("linux/arm64")).toBe("linux/arm64");
    expect(choose("linux/amd64")).toBeUndefined();
  });
});

test("chain ids follow the specification's recursion", () => {
  const a = `sha256:${"a".repeat(64)}` as DiffId;
  const b = `sha256:${"b".repeat(64)}` as DiffId;
  expect(chainIds([a, b])).toEqual([a, "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"]);
});

describe("whiteouts", () => {
  test.each([
    ["a/.wh.b", { kind: "whiteout", path: "a/b" }],
    [".wh.b", { kind: "whiteout", path: "b" }],
    ["a/.wh..wh..opq", { kind: "opaque", path: "a" }],
    [".wh..wh..opq", { kind: "opaque", path: "" }],
    ["a/b.wh.c", undefined],
  ])("%s", (name, expected) => expect(parseWhiteout(path(name))).toEqual(expected));

  test("one that would remove its own or the parent directory is refused", () => {
    for (const name of ["a/.wh.", "a/.wh..", "a/.wh..."]) {
      expect(() => parseWhiteout(path(name))).toThrow(expect.objectContaining({ code: "TAR_CORRUPT" }));
    }
    expect(whiteoutOf(path("a/b"))).toBe("a/.wh.b");
  });
});
